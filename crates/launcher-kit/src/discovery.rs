//! Where the server is, by the mount that the work is on (design.md section 3): `<fs-mount>/.distccd/cluster.toml` counts
//! more than the built-in default and less than whatever anybody has set.

use std::path::{Path, PathBuf};

use cluster_file::discovery::{Trust, find};
use proto::version::PROTOCOL;

use crate::places::{Place, Places};
use crate::settings::Settings;

/// What a mount said of its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The file that gave the server's address, if one did.
    pub file: Option<PathBuf>,
    /// Why a file that is there is passed over.
    pub doubt: Option<String>,
}

impl Discovery {
    /// Looks on the mount that holds the working directory, and there alone: another mount may hang, and this one is
    /// worked on in any case. Asks nothing when the address has been set, and puts it into `settings` when it is found.
    #[must_use]
    pub fn of(settings: &mut Settings, places: &Places, cwd: Option<&Path>) -> Self {
        if settings.server_is_configured || settings.disabled {
            return Self::default();
        }
        let Some(Place::Shared(mount)) = cwd.map(|cwd| places.of_dir(Path::new(""), cwd)) else {
            return Self::default();
        };
        Self::on(settings, places.mount(mount))
    }

    /// Looks on one mount.
    #[must_use]
    pub fn on(settings: &mut Settings, mount: &Path) -> Self {
        let trust = Trust { service_user: &settings.service_user, protocol: PROTOCOL.major };
        let file = cluster_file::path_on(mount);
        match find(mount, trust) {
            Ok(None) => Self::default(),
            Ok(Some(found)) => {
                settings.server_addr = found.server_addr;
                Self { file: Some(file), doubt: None }
            }
            Err(doubt) => Self { file: None, doubt: Some(format!("{} is passed over: {doubt}", file.display())) },
        }
    }
}
