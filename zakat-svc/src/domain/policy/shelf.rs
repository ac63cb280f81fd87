//! The policies that are served: those of this build, and those given at run time.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{Policy, PolicyError};

/// The documents of this build.
const EMBEDDED: [&str; 7] = [
    include_str!("../../../policies/baznas.json"),
    include_str!("../../../policies/hanafi-silver-595.json"),
    include_str!("../../../policies/hanafi-silver-612.json"),
    include_str!("../../../policies/hanbali.json"),
    include_str!("../../../policies/majority-gold-85.json"),
    include_str!("../../../policies/maliki.json"),
    include_str!("../../../policies/shafii.json"),
];

/// The most policies that are held.
const POLICIES_MAX: usize = 1000;

/// A policy with its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The rules.
    pub policy: Policy,
    /// The document.
    pub document: String,
    /// Its SHA-256, in hexadecimal.
    pub digest: String,
}

/// The policies that are served, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    by_id: BTreeMap<String, Served>,
}

impl Policies {
    /// Those of this build.
    ///
    /// # Errors
    /// Never in a build that was tested: a test reads each of them.
    pub fn embedded() -> Result<Self, PolicyError> {
        let mut policies = Self::default();
        for document in EMBEDDED {
            policies.put(document)?;
        }
        Ok(policies)
    }

    /// Adds a document. It takes the place of a policy of the same id if its version is higher.
    ///
    /// # Errors
    /// What is wrong with it; a version that is not higher; too many.
    pub fn put(&mut self, document: &str) -> Result<(), PolicyError> {
        let policy = Policy::read(document)?;
        let refuse = |field: &str, problem: String| PolicyError {
            field: field.to_owned(),
            problem,
        };
        if let Some(served) = self.by_id.get(&policy.id)
            && served.policy.version >= policy.version
        {
            let problem = format!(
                "{} of {} is not above {}, which is served",
                policy.version, policy.id, served.policy.version
            );
            return Err(refuse("version", problem));
        }
        if self.by_id.len() >= POLICIES_MAX && !self.by_id.contains_key(&policy.id) {
            return Err(refuse(
                "document",
                "is one more than the 1000 that are held".to_owned(),
            ));
        }
        let served = Served {
            digest: format!("{:x}", Sha256::digest(document)),
            document: document.to_owned(),
            policy,
        };
        self.by_id.insert(served.policy.id.clone(), served);
        Ok(())
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Served> {
        self.by_id.get(id)
    }

    /// Those whose id is above `after`, by id.
    pub fn after<'a>(&'a self, after: &'a str) -> impl Iterator<Item = &'a Served> {
        let all = self.by_id.iter();
        all.filter(move |(id, _)| id.as_str() > after)
            .map(|(_, served)| served)
    }
}
