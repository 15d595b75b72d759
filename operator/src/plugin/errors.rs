//! What can go wrong for a person at a terminal. Each text says what to do.
//!
//! May import: kube's errors. Deliberately absent: retries.

use kube::client::UpgradeConnectionError;

use crate::local::runner::chain;

/// Why nothing could be shown or done.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// There is no usable kubeconfig.
    #[error(
        "the kubeconfig cannot be used: see `kubectl config view`, or name another with --kubeconfig and --context"
    )]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// There is neither a kubeconfig nor a service account.
    #[error("no API server is known: set KUBECONFIG, or name a file with --kubeconfig")]
    NoConfig(#[source] Box<kube::config::InferConfigError>),
    /// The client cannot be made of the configuration.
    #[error("the kubeconfig names an API server or credentials that cannot be used")]
    Client(#[source] Box<kube::Error>),
    /// There is no such RaftCluster.
    #[error("there is no RaftCluster {namespace}/{name}: see `kubectl get raftclusters -A`")]
    NoCluster {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The named pod is none of the cluster's.
    #[error("--to {given}: no pod of that name belongs to the cluster; its pods are {}", if pods.is_empty() { "none yet".to_owned() } else { pods.join(", ") })]
    NoPod {
        /// What was given.
        given: String,
        /// What there is.
        pods: Vec<String>,
    },
    /// The API server refused or did not answer.
    #[error("{what}: {said}")]
    Api {
        /// What was being done.
        what: String,
        /// The API server's words.
        said: String,
    },
    /// There is no right to run a command in a pod.
    #[error("{said} (running a command in {pod} needs the rights get and create on pods/exec)")]
    Exec {
        /// The pod.
        pod: String,
        /// The API server's words.
        said: String,
    },
    /// A command in a pod could not be run: its container is not up, or its node does not answer.
    #[error("no command could be run in {pod}: {said}")]
    NotRunning {
        /// The pod.
        pod: String,
        /// The API server's words.
        said: String,
    },
    /// The connection to a command in a pod broke.
    #[error("the connection to the command in {pod} broke")]
    Broken {
        /// The pod.
        pod: String,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// A command in a pod took too long.
    #[error("{pod} did not answer within {seconds} s")]
    Late {
        /// The pod.
        pod: String,
        /// How long it was given.
        seconds: u64,
    },
    /// The member refused, or could not.
    #[error("{pod} says: {said}")]
    Refused {
        /// The pod.
        pod: String,
        /// Its words.
        said: String,
    },
    /// The member's answer cannot be read.
    #[error(
        "{pod} answered in a form that this version of the plugin does not know; take the operator's version of it"
    )]
    Unreadable {
        /// The pod.
        pod: String,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
}

impl PluginError {
    /// Why a command in a pod could not be begun.
    pub(super) fn of_exec(pod: &str, error: &kube::Error) -> Self {
        let (pod, said) = (pod.to_owned(), words(error));
        // An upgrade of the connection that is refused has no words but its code.
        let code = if let kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(code)) = error
        {
            Some(code.as_u16())
        } else if let kube::Error::Api(status) = error {
            Some(status.code)
        } else {
            None
        };
        if code == Some(403) { Self::Exec { pod, said } } else { Self::NotRunning { pod, said } }
    }
}

/// An API server's words, once: kube's own text has them twice, with all of the answer in between.
pub(super) fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error
        && !status.message.is_empty()
    {
        return status.message.clone();
    }
    chain(error)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_api_servers_words_are_said_once() {
        let forbidden = "pods \"orders-0\" is forbidden: User \"anna\" cannot get resource \"pods/exec\"";
        let error = kube::Error::Api(Box::new(Status::failure(forbidden, "Forbidden").with_code(403)));
        let shown = PluginError::of_exec("orders-0", &error);
        let wanted = format!(
            "{forbidden} (running a command in orders-0 needs the rights get and create on pods/exec)"
        );
        assert_eq!(chain(&shown), wanted);
        let absent =
            kube::Error::Api(Box::new(Status::failure("container not found", "NotFound").with_code(404)));
        let shown = chain(&PluginError::of_exec("orders-0", &absent));
        assert_eq!(
            shown, "no command could be run in orders-0: container not found",
            "rights have nothing to do with it"
        );
        // An answer without words is still told of.
        let silent = words(&kube::Error::Api(Box::new(Status::failure("", "Forbidden").with_code(403))));
        assert!(silent.contains("403"), "{silent}");
    }
}
