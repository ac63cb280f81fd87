//! The calculator without a server: policies and sentences, held once, asked any number of times.

use std::{fs, io, path::Path};

use mizan_contracts::zakat::v1::{AssessRequest, AssessResponse};
use tonic::Status;

use crate::{
    domain::{
        assess,
        explain::{Sentences, Trace},
        policy::{Policies, PolicyError},
    },
    grpc::{self, Asked},
};

/// The largest policy document that is read. Those shipped have about 8 KB.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;

/// Assesses. It keeps nothing between requests.
#[derive(Debug)]
pub struct Assessor {
    pub(crate) policies: Policies,
    pub(crate) sentences: Sentences,
}

/// Why the rules could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// What was built in is damaged: a defect of ours.
    #[error("cannot read the sentences of this build")]
    Sentences(#[from] serde_json::Error),
    /// A policy of this build: a defect of ours.
    #[error("cannot read a policy of this build")]
    Embedded(#[source] PolicyError),
    /// The folder or a file of it cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file is not a policy.
    #[error("cannot use {path}")]
    Unusable {
        /// Which.
        path: String,
        /// Why.
        source: PolicyError,
    },
}

impl Assessor {
    /// With the policies of this build.
    ///
    /// # Errors
    /// Never in a build that was tested.
    pub fn new() -> Result<Self, LoadError> {
        Ok(Self {
            policies: Policies::embedded().map_err(LoadError::Embedded)?,
            sentences: Sentences::embedded()?,
        })
    }

    /// With those of this build and every `*.json` of a folder, in the order of their names. One
    /// of the same id takes the place of another if its version is higher.
    ///
    /// # Errors
    /// The first file that cannot be read or is not a policy.
    pub fn with_folder(folder: &Path) -> Result<Self, LoadError> {
        let mut assessor = Self::new()?;
        let unreadable = |path: &Path| {
            let path = path.display().to_string();
            move |source| LoadError::Unreadable { path, source }
        };
        let entries = fs::read_dir(folder).map_err(unreadable(folder))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable(folder))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            let length = fs::metadata(&path).map_err(unreadable(&path))?.len();
            if length > DOCUMENT_BYTES_MAX {
                let source = io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 1 MiB");
                return Err(unreadable(&path)(source));
            }
            let document = fs::read_to_string(&path).map_err(unreadable(&path))?;
            assessor
                .policies
                .put(&document)
                .map_err(|source| LoadError::Unusable {
                    path: path.display().to_string(),
                    source,
                })?;
        }
        Ok(assessor)
    }

    /// The ids of the policies, in their order.
    pub fn policy_ids(&self) -> impl Iterator<Item = &str> {
        let all = self.policies.after("");
        all.map(|served| served.policy.id.as_str())
    }

    /// Assesses: the call of the same name, without a wire.
    ///
    /// # Errors
    /// As the call: INVALID_ARGUMENT with every field that is wrong, NOT_FOUND for a policy that is
    /// not served.
    pub fn assess(&self, request: &AssessRequest) -> Result<AssessResponse, Status> {
        let asked = Asked::read(self, request)?;
        let mut trace = if asked.is_full {
            Trace::kept()
        } else {
            Trace::unkept()
        };
        let assessed = assess::assess(&asked.served.policy, &asked.facts, &mut trace);
        let assessed = assessed.map_err(|e| mizan::status::invalid(&e.field, &e.problem))?;
        grpc::assessment(self, &asked, &assessed, trace.into_steps())
    }
}
