//! Where the server keeps what the next run of it is to know.

use std::path::{Path, PathBuf};

/// The setting `state_dir`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StateDir {
    /// Where such things are kept on this machine: see [`StateDir::settled`].
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// Here.
    At(PathBuf),
}

impl StateDir {
    /// What is said of it in a file or a flag.
    ///
    /// # Errors
    /// When it is neither of the two words nor an absolute path.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            path if path.starts_with('/') => Ok(Self::At(path.into())),
            _ => Err("must be an absolute path, `auto` or `off`".to_owned()),
        }
    }

    /// How a file would say it.
    #[must_use]
    pub fn shown(&self) -> &Path {
        match self {
            Self::Auto => Path::new("auto"),
            Self::Off => Path::new("off"),
            Self::At(path) => path,
        }
    }

    /// `Auto` made a path: systemd's choice, else `/var/lib/distccd` for root, else the user's own state directory
    /// (`XDG_STATE_HOME`, `~/.local/state`); `Off` for a user who has no home.
    #[must_use]
    pub fn settled(self, is_root: bool, env: &dyn Fn(&str) -> Option<String>) -> Self {
        if self != Self::Auto {
            return self;
        }
        let absolute = |name: &str| env(name).filter(|path| path.starts_with('/')).map(PathBuf::from);
        // systemd lists all directories of the unit; the first is ours.
        let given = env("STATE_DIRECTORY").and_then(|list| Some(PathBuf::from(list.split(':').next()?)));
        let given = given.filter(|path| path.is_absolute());
        let machine = || is_root.then(|| PathBuf::from("/var/lib/distccd"));
        let own = || absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        let own = || Some(own()?.join("distccd"));
        given.or_else(machine).or_else(own).map_or(Self::Off, Self::At)
    }

    /// The directory; none while it is `Auto` or `Off`.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::At(path) => Some(path),
            Self::Auto | Self::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(is_root: bool, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let env = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
        StateDir::Auto.settled(is_root, &env).path().map(Path::to_owned)
    }

    #[test]
    fn systemd_is_asked_first_then_who_we_are() {
        let home = ("HOME", "/home/ada");
        let xdg = ("XDG_STATE_HOME", "/state");
        let unit = ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");

        assert_eq!(settled(true, &[home, xdg, unit]), Some("/var/lib/a".into()));
        assert_eq!(settled(true, &[home, xdg]), Some("/var/lib/distccd".into()));
        assert_eq!(settled(false, &[home, xdg]), Some("/state/distccd".into()));
        assert_eq!(settled(false, &[home]), Some("/home/ada/.local/state/distccd".into()));
        assert_eq!(settled(false, &[("XDG_STATE_HOME", "relative"), ("STATE_DIRECTORY", "")]), None);
    }

    #[test]
    fn what_is_said_wins_and_reads_back_as_it_is_shown() {
        for text in ["auto", "off", "/a/b"] {
            assert_eq!(StateDir::parse(text).unwrap().shown(), Path::new(text));
        }
        let settled = |text| StateDir::parse(text).unwrap().settled(true, &|_| None);
        assert_eq!(settled("off").path(), None);
        assert_eq!(settled("/a").path(), Some(Path::new("/a")));
        assert!(StateDir::parse("a/b").is_err());
    }
}
