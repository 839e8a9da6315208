//! Files that appear beside the primary output: which of them were asked for.

use crate::flags::Beside;

/// Where `-save-temps` leaves its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temps {
    /// In the output's directory, where the vendor's default says nothing else.
    Default,
    /// `=obj`.
    ByOutput,
    /// `=cwd`.
    Here,
}

/// What was asked for. The last word on each wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Besides {
    pub(crate) split_dwarf: bool,
    pub(crate) coverage_notes: bool,
    pub(crate) stack_usage: bool,
    pub(crate) call_graph: bool,
    pub(crate) time_trace: bool,
    pub(crate) optimisation_record: bool,
    pub(crate) temps: Option<Temps>,
}

impl Besides {
    /// Notes that `beside` is wanted, or no longer.
    pub(crate) fn set(&mut self, beside: Beside, wanted: bool) {
        match beside {
            Beside::SplitDwarf => self.split_dwarf = wanted,
            Beside::CoverageNotes => self.coverage_notes = wanted,
            Beside::StackUsage => self.stack_usage = wanted,
            Beside::CallGraph => self.call_graph = wanted,
            Beside::TimeTrace => self.time_trace = wanted,
            Beside::OptimisationRecord => self.optimisation_record = wanted,
            Beside::Temps => self.temps = Some(Temps::Default),
            Beside::TempsByOutput => self.temps = Some(Temps::ByOutput),
            Beside::TempsHere => self.temps = Some(Temps::Here),
        }
    }

    /// Whether anything was.
    pub(crate) fn any(&self) -> bool {
        *self != Self::default()
    }
}
