//! Where the server is: as configured, or else as a mount says it now (design.md section 3). Asked before every connection,
//! so a server that has moved is found.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_file::discovery::{Trust, find};
use proto::version::PROTOCOL;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{Config, OPEN_PLAINTEXT, ServerAddr};

/// A mount that takes longer to answer is not waited for; what is left of the question is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a mount says: an address and the file that gives it, nothing, or why it is not believed.
type Word = Result<Option<(String, PathBuf)>, String>;

/// Where the server is looked for.
pub(crate) struct Whereabouts {
    configured: ServerAddr,
    insecure: bool,
    service_user: String,
    /// Each with a question that it has not answered yet. Empty when the address is configured.
    mounts: Vec<(PathBuf, Option<JoinHandle<Word>>)>,
    said: String,
}

impl Whereabouts {
    pub(crate) fn new(config: &Config) -> Self {
        let mounts = config.mounts.iter().filter(|_| config.discovers).map(|mount| (mount.clone(), None));
        Self {
            configured: config.server_addr.clone(),
            insecure: config.insecure,
            service_user: config.service_user.clone(),
            mounts: mounts.collect(),
            said: String::new(),
        }
    }

    /// Where it is now: what the first mount says that says anything; the configured or default address when none does.
    ///
    /// # Errors
    /// When it is where this worker must not connect to.
    pub(crate) async fn look(&mut self) -> Result<ServerAddr, String> {
        let mut news = Vec::new();
        let mut found = None;
        for (mount, question) in &mut self.mounts {
            match ask(mount, question, &self.service_user).await {
                Ok(None) => {}
                Ok(Some(word)) => {
                    found = Some(word);
                    break;
                }
                Err(doubt) => news.push(doubt),
            }
        }
        self.say(&news.join("; "));
        let Some((address, file)) = found else { return Ok(self.configured.clone()) };
        let server = ServerAddr::parse(&address).map_err(|wrong| format!("{}: {address} {wrong}", file.display()))?;
        if server.is_loopback() || self.insecure {
            Ok(server)
        } else {
            Err(format!("{}: {server} {OPEN_PLAINTEXT}", file.display()))
        }
    }

    /// Once for each change.
    fn say(&mut self, doubts: &str) {
        if self.said != doubts && !doubts.is_empty() {
            tracing::warn!(server = %self.configured, "no mount says where the server is: {doubts}");
        }
        doubts.clone_into(&mut self.said);
    }
}

async fn ask(mount: &Path, question: &mut Option<JoinHandle<Word>>, service_user: &str) -> Word {
    let asking = question.get_or_insert_with(|| {
        let (mount, service_user) = (mount.to_owned(), service_user.to_owned());
        tokio::task::spawn_blocking(move || word_of(&mount, &service_user))
    });
    let file = cluster_file::path_on(mount);
    match timeout(PATIENCE, &mut *asking).await {
        Ok(answered) => {
            *question = None;
            answered.map_err(|error| format!("{}: {error}", file.display()))?
        }
        Err(_) => Err(format!("{}: the mount does not answer within {PATIENCE:?}", file.display())),
    }
}

fn word_of(mount: &Path, service_user: &str) -> Word {
    let file = cluster_file::path_on(mount);
    match find(mount, Trust { service_user, protocol: PROTOCOL.major }) {
        Ok(found) => Ok(found.map(|found| (found.server_addr, file))),
        Err(doubt) => Err(format!("{} is passed over: {doubt}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_file::ClusterFile;
    use model::ids::Incarnation;

    fn publish(mount: &Path, server_addr: &str) {
        let file = ClusterFile {
            server_addr: server_addr.to_owned(),
            host: "build1".to_owned(),
            protocol: (PROTOCOL.major, PROTOCOL.minor),
            incarnation: Incarnation::from_bytes([1; 16]),
            boot: None,
            mount: None,
        };
        cluster_file::publish(mount, &file).unwrap();
    }

    fn config(mounts: &[&Path]) -> Config {
        let mounts = mounts.iter().map(|mount| mount.to_path_buf()).collect();
        Config { mounts, discovers: true, insecure: true, ..Config::default() }
    }

    #[tokio::test]
    async fn a_server_that_moves_is_found_where_it_is_now() {
        let (silent, mount) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut whereabouts = Whereabouts::new(&config(&[silent.path(), mount.path()]));
        assert_eq!(whereabouts.look().await.unwrap().to_string(), "localhost:50051");

        publish(mount.path(), "build1.example.org:7");
        assert_eq!(whereabouts.look().await.unwrap().to_string(), "build1.example.org:7");
        publish(mount.path(), "build2.example.org:8");
        assert_eq!(whereabouts.look().await.unwrap().to_string(), "build2.example.org:8");
    }

    #[tokio::test]
    async fn a_configured_address_wins_and_another_machine_needs_leave() {
        let mount = tempfile::tempdir().unwrap();
        publish(mount.path(), "build1.example.org:7");
        let configured = Config { discovers: false, ..config(&[mount.path()]) };
        let careful = Config { insecure: false, ..config(&[mount.path()]) };

        assert_eq!(Whereabouts::new(&configured).look().await.unwrap().to_string(), "localhost:50051");
        let refusal = Whereabouts::new(&careful).look().await.unwrap_err();
        assert!(refusal.contains("build1.example.org:7") && refusal.contains("--insecure"), "{refusal}");
    }

    #[tokio::test]
    async fn what_is_broken_is_passed_over() {
        let mount = tempfile::tempdir().unwrap();
        publish(mount.path(), "build1.example.org:7");
        std::fs::write(cluster_file::path_on(mount.path()), "garbage").unwrap();

        let mut whereabouts = Whereabouts::new(&config(&[mount.path()]));

        assert_eq!(whereabouts.look().await.unwrap().to_string(), "localhost:50051");
        assert!(whereabouts.said.contains("cluster.toml"), "{}", whereabouts.said);
    }
}
