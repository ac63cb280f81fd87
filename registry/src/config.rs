//! The registry's settings: flags, each with an environment variable.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use ipnet::IpNet;
use mizan::{
    args::{ProcessArgs, ServerArgs, local},
    connection::{Connector, Tcp},
};
use uuid::Uuid;

use crate::{
    DEFAULT_PORT,
    catalogue::{check_address, check_metadata},
};

/// What the registry itself can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Config {
    /// The longest a drain may take, in seconds.
    #[arg(long, env = "MIZAN_DRAIN_SECONDS", default_value_t = 30)]
    pub drain_seconds: u64,

    /// The folder for the registry's file, `registry.db`; empty to keep nothing over a restart.
    #[arg(
        long,
        env = "MIZAN_DATA",
        default_value = ".mizan",
        // A path may be empty here, which clap's own parser for paths refuses.
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub data: PathBuf,

    /// The name of the node that instances are on which name none.
    #[arg(long, env = "MIZAN_NODE", default_value = "mizan")]
    pub node: String,

    /// The host of that node, which instances have that name none of their own. Where the registry
    /// listens, when unset; 127.0.0.1 when it listens on all addresses.
    #[arg(long, env = "MIZAN_REGISTRY_ADVERTISE", value_name = "HOST", value_parser = host)]
    pub advertise: Option<String>,

    /// A pair that the node has, such as rack:7; may be given again.
    #[arg(
        long,
        env = "MIZAN_NODE_META",
        value_name = "KEY:VALUE",
        value_delimiter = ',',
        value_parser = pair
    )]
    pub node_meta: Vec<(String, String)>,

    /// The node's id; made from its name when unset.
    #[arg(long, env = "MIZAN_NODE_ID", value_name = "UUID")]
    pub node_id: Option<Uuid>,

    /// Lists the registry itself as the service consul, as every cluster of Consul does: for clients
    /// that look for it in lists. Others would take it for one to call.
    #[arg(long, env = "MIZAN_CONSUL_SERVICE")]
    pub consul_service: bool,

    /// A network, such as 10.0.0.0/8, that checks may go to; may be given again. Without any, they
    /// may go everywhere that a registration names, but to the machine's own: see --allow-check-address.
    #[arg(
        long,
        env = "MIZAN_PROBE_ALLOW",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub probe_allow: Vec<IpNet>,

    /// An address, or a network, that checks may go to whatever it is; may be given again. Link-local
    /// addresses and those of a cloud's metadata are not checked otherwise.
    #[arg(
        long,
        env = "MIZAN_ALLOW_CHECK_ADDRESS",
        value_name = "IP|CIDR",
        value_delimiter = ',',
        value_parser = network
    )]
    pub allow_check_address: Vec<IpNet>,

    /// Names by which its pages and Consul's API may be called on a loopback address,
    /// comma-separated, beside addresses, localhost and names without a dot: for a proxy on this
    /// machine that passes on the name it was called by.
    #[arg(long, env = "MIZAN_ALLOW_HOST", value_delimiter = ',')]
    pub allow_host: Vec<String>,

    /// What the connections of gRPC checks are made of. No flag: TCP, unless an embedder says
    /// otherwise.
    #[arg(skip = tcp())]
    pub connector: Arc<dyn Connector>,
}

fn network(word: &str) -> Result<IpNet, String> {
    let address = word.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| word.parse())
        .map_err(|_| "is neither an IP address nor a network such as 10.0.0.0/8".to_owned())
}

fn pair(word: &str) -> Result<(String, String), String> {
    let (key, value) = word.split_once(':').ok_or("is not KEY:VALUE")?;
    let pairs = [(key.to_owned(), value.to_owned())].into();
    let mut found = Vec::new();
    check_metadata("KEY:VALUE", &pairs, &mut found);
    match found.pop() {
        None => Ok((key.to_owned(), value.to_owned())),
        Some(wrong) => Err(wrong.description),
    }
}

fn host(word: &str) -> Result<String, String> {
    match check_address("HOST", word) {
        None => Ok(word.to_owned()),
        Some(wrong) => Err(wrong.description),
    }
}

fn tcp() -> Arc<dyn Connector> {
    Arc::new(Tcp)
}

/// What tests and embedders start from: nothing is kept over a restart.
impl Default for Config {
    fn default() -> Self {
        Self {
            drain_seconds: 30,
            data: PathBuf::new(),
            node: "mizan".to_owned(),
            advertise: None,
            node_meta: Vec::new(),
            node_id: None,
            consul_service: false,
            probe_allow: Vec::new(),
            allow_check_address: Vec::new(),
            allow_host: Vec::new(),
            connector: tcp(),
        }
    }
}

impl Config {
    /// Where the registry's own node is, given where the registry listens.
    pub(crate) fn host(&self, listening: IpAddr) -> String {
        let here = if listening.is_unspecified() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            listening
        };
        self.advertise.clone().unwrap_or_else(|| here.to_string())
    }

    /// The registry is registered nowhere.
    pub(crate) fn server(&self) -> ServerArgs {
        ServerArgs {
            drain_seconds: self.drain_seconds,
            allow_host: self.allow_host.clone(),
            ..ServerArgs::with_registry(Vec::new())
        }
    }
}

/// What the process can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The address to listen on.
    #[arg(long, env = "MIZAN_LISTEN", default_value_t = local(DEFAULT_PORT))]
    pub listen: SocketAddr,

    /// The registry's own settings.
    #[command(flatten)]
    pub config: Config,

    /// How the process behaves.
    #[command(flatten)]
    pub process: ProcessArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_node_is_where_it_is_said_to_be_or_where_the_registry_listens() {
        let config = |flags: &[&str]| {
            let words = ["registry"].iter().chain(flags);
            Command::try_parse_from(words).map(|command| command.config)
        };
        let host = |flags: &[&str], listening: &str| {
            let config = config(flags).unwrap();
            config.host(listening.parse().unwrap())
        };
        assert_eq!(host(&[], "10.0.0.1"), "10.0.0.1");
        assert_eq!(host(&[], "0.0.0.0"), "127.0.0.1");
        assert_eq!(host(&[], "::"), "127.0.0.1");
        let flags = ["--advertise", "registry.internal"];
        assert_eq!(host(&flags, "0.0.0.0"), "registry.internal");
        for wrong in ["0.0.0.0", "a:1", ""] {
            assert!(config(&["--advertise", wrong]).is_err(), "{wrong}");
        }
    }
}
