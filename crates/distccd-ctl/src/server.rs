//! The server: found as launchers find it, asked within bounded time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster_file::discovery::{Trust, find};
use daemon_kit::exit;
use launcher_kit::settings::{Given, Settings, load};
use proto::limits::MAX_MESSAGE_BYTES;
use proto::v1::admin_client::AdminClient;
use proto::v1::{self, ListJobsRequest};
use proto::version::PROTOCOL;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::cli::{Cli, Task};
use crate::helper::{self, NoAnswer};

/// A mount that takes longer to say where its server is hangs.
const MOUNT_PATIENCE: Duration = Duration::from_secs(3);
/// A server that takes longer to answer is none.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer, by who must act.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The user: a flag.
    #[error("{0}")]
    Usage(String),
    /// The operator: settings, one line a mistake.
    #[error("{0}")]
    Settings(String),
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// The server knows no such job.
    #[error("{0}")]
    NoJob(String),
    /// The server knows no such worker.
    #[error("{0}")]
    NoWorker(String),
    /// The server refuses.
    #[error("the server says: {0}")]
    Forbidden(String),
}

impl Trouble {
    /// After sysexits.h.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::NoJob(_) => 66,
            Self::NoWorker(_) => 68,
            Self::Unreachable(_) => exit::UNAVAILABLE,
            Self::Forbidden(_) => 77,
            Self::Settings(_) => exit::CONFIG,
        }
    }
}

/// The settings of launchers on this machine, with our own flags over them.
///
/// # Errors
/// All that is wrong with them.
pub fn settings(cli: &Cli) -> Result<Settings, Trouble> {
    let given = |key, value: &String| Given { key, value: OsString::from(value) };
    let mut flags: Vec<Given> = cli.server_addr.iter().map(|addr| given("server_addr", addr)).collect();
    flags.extend(cli.service_user.iter().map(|user| given("service_user", user)));
    flags.extend(cli.fs_mount.iter().map(|mount| given("fs_mount", mount)));
    load(&flags, &|name| std::env::var_os(name)).map_err(|mistakes| {
        let text = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let by_flag = mistakes.iter().any(|mistake| mistake.place == "flag");
        if by_flag { Trouble::Usage(text) } else { Trouble::Settings(text) }
    })
}

/// A mount that is asked where its server is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Search {
    mount: PathBuf,
    service_user: String,
}

/// What it says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// The server's address.
    pub server_addr: Option<String>,
    /// Why the file is not believed.
    pub doubt: Option<String>,
}

/// Asks the mount. May hang as the filesystem does.
#[must_use]
pub fn search(search: &Search) -> Found {
    match find(&search.mount, Trust { service_user: &search.service_user, protocol: PROTOCOL.major }) {
        Ok(found) => Found { server_addr: found.map(|file| file.server_addr), doubt: None },
        Err(doubt) => Found { server_addr: None, doubt: Some(doubt.to_string()) },
    }
}

/// Asks the mount, for a bounded time.
///
/// # Errors
/// When it does not answer.
pub fn search_bounded(settings: &Settings, mount: &Path) -> Result<Found, NoAnswer> {
    let search = Search { mount: mount.to_owned(), service_user: settings.service_user.clone() };
    helper::ask(Task::Find, &search, MOUNT_PATIENCE)
}

/// Where the server is, and how that is known.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// `HOST:PORT`.
    pub address: String,
    /// For people: a file, or that it was set, or that it is the default.
    pub by: String,
    /// What was passed over.
    pub doubts: Vec<String>,
}

/// Where the server is. The mount of the working directory is asked first, by its text, for looking may hang.
#[must_use]
pub fn whereabouts(settings: &Settings) -> Whereabouts {
    let address = settings.server_addr.clone();
    if settings.server_is_configured {
        return Whereabouts { address, by: "as configured".to_owned(), doubts: Vec::new() };
    }
    let cwd = std::env::var_os("PWD").map(PathBuf::from).unwrap_or_default();
    let mut mounts: Vec<&PathBuf> = settings.fs_mounts.iter().collect();
    mounts.sort_by_key(|mount| !cwd.starts_with(mount));
    let mut doubts = Vec::new();
    for mount in mounts {
        let file = cluster_file::path_on(mount);
        match search_bounded(settings, mount) {
            Ok(Found { server_addr: Some(address), .. }) => {
                return Whereabouts { address, by: format!("by {}", file.display()), doubts };
            }
            Ok(found) => doubts.extend(found.doubt.map(|doubt| format!("{}: {doubt}", file.display()))),
            Err(error) => doubts.push(format!("{}: {error}", file.display())),
        }
    }
    Whereabouts { address, by: "the default".to_owned(), doubts }
}

/// A way to the server, not tried yet.
pub struct Server {
    whereabouts: Whereabouts,
    client: AdminClient<Channel>,
}

impl Server {
    /// The server of these settings.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub fn find(cli: &Cli) -> Result<Self, Trouble> {
        Self::at(whereabouts(&settings(cli)?))
    }

    /// The server at an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn at(whereabouts: Whereabouts) -> Result<Self, Trouble> {
        let endpoint = Endpoint::from_shared(format!("http://{}", whereabouts.address));
        let endpoint = endpoint.map_err(|error| Trouble::Settings(format!("{}: {error}", whereabouts.address)))?;
        let channel = endpoint.connect_timeout(ANSWER_PATIENCE).connect_lazy();
        let client = AdminClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { whereabouts, client })
    }

    /// How things are.
    ///
    /// # Errors
    /// When there is no answer, or one in another protocol.
    pub async fn status(&mut self) -> Result<v1::Status, Trouble> {
        let answer = timeout(ANSWER_PATIENCE, self.client.get_status(v1::GetStatusRequest {})).await;
        let status = self.answered(answer)?;
        let theirs = status.server.as_ref().and_then(|hello| hello.protocol).unwrap_or_default();
        if theirs.major == PROTOCOL.major {
            return Ok(status);
        }
        let ours = PROTOCOL.major;
        Err(Trouble::Unreachable(format!("the server speaks protocol {} and this release {ours}", theirs.major)))
    }

    /// The jobs that are not done.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn jobs(&mut self, limit: u32) -> Result<v1::JobList, Trouble> {
        let answer = timeout(ANSWER_PATIENCE, self.client.list_jobs(ListJobsRequest { limit })).await;
        self.answered(answer)
    }

    /// Why a job is where it is.
    ///
    /// # Errors
    /// When there is no answer, or no such job.
    pub async fn explain(&mut self, job: &str) -> Result<v1::Explanation, Trouble> {
        let wrong = || Trouble::Usage(format!("`{job}` must be the id of a job, 32 hex digits, as `jobs` shows it"));
        let digits = job.len() == 32 && job.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = u128::from_str_radix(job, 16).ok().filter(|_| digits).ok_or_else(wrong)?;
        let request = v1::ExplainRequest { job: id.to_be_bytes().to_vec().into() };
        let answer = timeout(ANSWER_PATIENCE, self.client.explain(request)).await;
        self.answered(answer).map_err(|trouble| match trouble {
            Trouble::NoWorker(text) => Trouble::NoJob(text),
            other => other,
        })
    }

    /// Tells a worker to drain, or not to.
    ///
    /// # Errors
    /// When there is no answer, no such worker, or it is not for this user to say.
    pub async fn drain(&mut self, worker: &str, order: v1::DrainOrder) -> Result<(), Trouble> {
        let request = v1::DrainRequest { worker: worker.to_owned(), order: Some(order) };
        let answer = timeout(ANSWER_PATIENCE, self.client.drain(request)).await;
        self.answered(answer).map(|_| ())
    }

    /// Has a file made on a mount by this worker, or by the server itself.
    ///
    /// # Errors
    /// Why it cannot, for people.
    pub async fn appear(&mut self, mount: &Path, name: &str, worker: Option<&str>) -> Result<(), String> {
        let mount = mount.as_os_str().as_encoded_bytes().to_vec().into();
        let worker = worker.unwrap_or_default().to_owned();
        let request = v1::AppearRequest { mount, name: name.to_owned(), worker };
        match timeout(ANSWER_PATIENCE, self.client.appear(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err(format!("no answer within {ANSWER_PATIENCE:?}")),
        }
    }

    fn answered<T>(
        &self,
        answer: Result<Result<tonic::Response<T>, tonic::Status>, tokio::time::error::Elapsed>,
    ) -> Result<T, Trouble> {
        let Whereabouts { address, by, doubts } = &self.whereabouts;
        let unreachable = |why: &str| {
            let mut text = format!("no answer from the server at {address} ({by}): {why}");
            doubts.iter().for_each(|doubt| text.push_str(&format!("\n{doubt}")));
            Trouble::Unreachable(text)
        };
        let Ok(answer) = answer else { return Err(unreachable(&format!("none within {ANSWER_PATIENCE:?}"))) };
        answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
            tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
                Trouble::Forbidden(status.message().to_owned())
            }
            tonic::Code::NotFound => Trouble::NoWorker(status.message().to_owned()),
            tonic::Code::InvalidArgument => Trouble::Usage(status.message().to_owned()),
            tonic::Code::Unimplemented => unreachable("it is of an older release, which does not know the question"),
            _ => unreachable(&whole_story(&status)),
        })
    }
}

/// A failure with its causes: tonic's own text is "transport error".
fn whole_story(status: &tonic::Status) -> String {
    let mut story = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        story = format!("{story}: {error}");
        cause = error.source();
    }
    story
}
