//! For which of the two kinds of dispatch jobs may go, of a lane, a build or a user: whoever has nothing that may go is
//! passed by without a look.

/// Which jobs of a lane may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Any: a slot is idle, and nobody waits for company then.
    Any,
    /// Only those that need not wait for company.
    Ripe,
}

/// A yes or no for each [`Readiness`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) any: bool,
    pub(crate) ripe: bool,
}

impl Open {
    pub(crate) fn get(self, which: Readiness) -> bool {
        match which {
            Readiness::Any => self.any,
            Readiness::Ripe => self.ripe,
        }
    }

    pub(crate) fn set(&mut self, which: Readiness, value: bool) {
        match which {
            Readiness::Any => self.any = value,
            Readiness::Ripe => self.ripe = value,
        }
    }
}

/// How many of the parts of something are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OpenParts {
    any: usize,
    ripe: usize,
}

impl OpenParts {
    /// Whether any is.
    pub(crate) fn open(self) -> Open {
        Open { any: self.any > 0, ripe: self.ripe > 0 }
    }

    /// One of the parts changed.
    pub(crate) fn replace(&mut self, before: Open, after: Open) {
        self.any = self.any + usize::from(after.any) - usize::from(before.any);
        self.ripe = self.ripe + usize::from(after.ripe) - usize::from(before.ripe);
    }

    pub(crate) fn of(parts: impl Iterator<Item = Open>) -> Self {
        let mut all = Self::default();
        parts.for_each(|part| all.replace(Open::default(), part));
        all
    }
}
