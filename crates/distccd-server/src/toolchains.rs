//! Whose toolchains are the same, and what differs where they are not.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::ids::ToolchainKey;
use proto::convert::Sameness;
use proto::v1;

/// Most parts of one toolchain, and most toolchains of clients, that are remembered: nobody has more.
const MOST: usize = 1024;
/// Most parts that are named to people.
const LISTED: usize = 12;

/// What a worker can be asked for: its tools, and each driver with each linker that a job may say besides.
#[must_use]
pub fn offered(register: &v1::Register, sameness: Sameness) -> Vec<ToolchainKey> {
    let tools = &register.toolchains;
    let linkers: Vec<ToolchainKey> =
        tools.iter().filter(|tool| is_linker(&tool.path)).map(|tool| sameness.key(tool)).collect();
    let mut keys: Vec<ToolchainKey> = tools.iter().map(|tool| sameness.key(tool)).collect();
    // Drivers alone have a target.
    for driver in tools.iter().filter(|tool| !tool.target.is_empty()) {
        keys.extend(linkers.iter().map(|&linker| sameness.key(driver).with_linker(linker)));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// `ld.gold`, `x86_64-linux-gnu-ld.bfd`, `mold`, `lld`.
fn is_linker(path: &[u8]) -> bool {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let mut words = name.split(|byte| b"-.".contains(byte));
    words.any(|word| [&b"ld"[..], b"lld", b"mold", b"gold"].contains(&word))
}

/// The parts of a toolchain: digests of contents by digests of names.
type Parts = BTreeMap<u32, u32>;

fn parts_of(wire: &v1::Toolchain) -> Parts {
    // The halves of the number are what it is made of.
    wire.parts.iter().take(MOST).map(|&part| ((part >> 32) as u32, part as u32)).collect()
}

fn names_of(wire: &v1::Toolchain) -> impl Iterator<Item = (u32, &String)> {
    wire.parts.iter().map(|&part| (part >> 32) as u32).zip(&wire.part_names).take(MOST)
}

/// The toolchains of the launchers' machines, the latest of each path.
#[derive(Debug, Default)]
pub struct Clients {
    latest: BTreeMap<Bytes, (Bytes, Parts)>,
}

impl Clients {
    /// Remembers what a job was submitted for, and lightens the job: parts are for people.
    pub fn note(&mut self, toolchain: &mut v1::Toolchain) {
        let known = self.latest.get(&toolchain.path);
        let is_news = known.is_none_or(|(fingerprint, _)| *fingerprint != toolchain.fingerprint);
        if is_news && (known.is_some() || self.latest.len() < MOST) {
            let news = (toolchain.fingerprint.clone(), parts_of(toolchain));
            self.latest.insert(toolchain.path.clone(), news);
        }
        (toolchain.parts, toolchain.part_names) = (Vec::new(), Vec::new());
        if let Some(linker) = &mut toolchain.linker {
            self.note(linker);
        }
    }
}

/// All that is known of who has what.
pub struct Comparison<'a> {
    clients: &'a Clients,
    /// The fingerprint that most workers have of what is at a path, if at least two have it.
    usual: BTreeMap<&'a [u8], &'a v1::Toolchain>,
    names: BTreeMap<u32, &'a str>,
}

impl<'a> Comparison<'a> {
    /// A comparison between clients and these workers.
    #[must_use]
    pub fn of(clients: &'a Clients, workers: &[&'a v1::Register]) -> Self {
        // By path and fingerprint: how many have it, and one of them.
        type Counts<'a, Key> = BTreeMap<Key, (usize, &'a v1::Toolchain)>;
        let mut counts: Counts<'_, (&[u8], &[u8])> = BTreeMap::new();
        let mut names = BTreeMap::new();
        for tool in workers.iter().flat_map(|worker| &worker.toolchains) {
            counts.entry((&tool.path, &tool.fingerprint)).or_insert((0, tool)).0 += 1;
            names.extend(names_of(tool).map(|(code, name)| (code, name.as_str())));
        }
        let mut usual: Counts<'_, &[u8]> = BTreeMap::new();
        for ((path, _), (count, tool)) in counts {
            let most = usual.entry(path).or_insert((1, tool));
            if count > most.0 {
                *most = (count, tool);
            }
        }
        let usual = usual.into_iter().filter(|(_, (count, _))| *count > 1).map(|(path, (_, tool))| (path, tool));
        Self { clients, usual: usual.collect(), names }
    }

    /// Which toolchains of a worker are others than the clients', or else than most workers'.
    #[must_use]
    pub fn differences(&self, worker: &v1::Register) -> Vec<v1::ToolchainDifference> {
        worker.toolchains.iter().filter_map(|tool| self.difference(tool)).collect()
    }

    fn difference(&self, tool: &v1::Toolchain) -> Option<v1::ToolchainDifference> {
        let client = self.clients.latest.get(&tool.path);
        if let Some((fingerprint, parts)) = client {
            return (tool.fingerprint != *fingerprint).then(|| self.say(tool, parts, "the clients'"));
        }
        let usual = self.usual.get(&tool.path[..])?;
        (tool.fingerprint != usual.fingerprint).then(|| self.say(tool, &parts_of(usual), "most workers'"))
    }

    fn say(&self, tool: &v1::Toolchain, theirs: &Parts, from: &str) -> v1::ToolchainDifference {
        let ours = parts_of(tool);
        let codes: BTreeSet<u32> = ours.keys().chain(theirs.keys()).copied().collect();
        let differ = codes.into_iter().filter(|code| ours.get(code) != theirs.get(code));
        let named = differ.map(|code| match self.names.get(&code) {
            Some(&name) if !theirs.contains_key(&code) => format!("{name} (only here)"),
            Some(&name) if !ours.contains_key(&code) => format!("{name} (not here)"),
            Some(&name) => name.to_owned(),
            None => "a part that no worker has".to_owned(),
        });
        let mut parts: Vec<String> = named.collect();
        parts.sort_unstable();
        parts.dedup();
        parts.truncate(LISTED);
        let what = if parts.is_empty() { "unknown parts".to_owned() } else { parts.join(", ") };
        let verb = if parts.len() == 1 { "differs" } else { "differ" };
        let text = format!("{}: {what} {verb} from {from}", String::from_utf8_lossy(&tool.path));
        v1::ToolchainDifference { path: tool.path.clone(), from: from.to_owned(), parts, text }
    }
}

/// What people and programs are told of a toolchain in a list of them.
#[must_use]
pub fn listed(tool: &v1::Toolchain) -> v1::Toolchain {
    let v1::Toolchain { path, size, version, target, fingerprint, .. } = tool.clone();
    v1::Toolchain { path, size, version, target, fingerprint, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["as", "cc1", "cc1plus"];

    /// A toolchain of three parts by their contents.
    fn gcc(contents: [u32; 3]) -> v1::Toolchain {
        let parts = contents.iter().enumerate().map(|(at, &content)| (at as u64) << 32 | u64::from(content)).collect();
        v1::Toolchain {
            path: "/usr/bin/gcc".into(),
            target: "x86_64-linux-gnu".into(),
            fingerprint: contents.map(|content| content as u8).to_vec().into(),
            parts,
            part_names: NAMES.map(str::to_owned).to_vec(),
            ..Default::default()
        }
    }

    fn worker(tool: v1::Toolchain) -> v1::Register {
        v1::Register { toolchains: vec![tool], ..Default::default() }
    }

    #[test]
    fn a_worker_that_differs_from_most_is_told_what_in() {
        let (ash, birch, odd) = (worker(gcc([1, 2, 3])), worker(gcc([1, 2, 3])), worker(gcc([1, 2, 9])));
        let clients = Clients::default();
        let comparison = Comparison::of(&clients, &[&ash, &odd, &birch]);

        assert!(comparison.differences(&ash).is_empty());
        let differences = comparison.differences(&odd);
        assert_eq!(differences[0].parts, ["cc1plus"]);
        assert_eq!(differences[0].text, "/usr/bin/gcc: cc1plus differs from most workers'");
    }

    #[test]
    fn clients_outweigh_any_number_of_workers() {
        let (ash, birch) = (worker(gcc([1, 2, 3])), worker(gcc([1, 2, 3])));
        let mut clients = Clients::default();
        let mut wanted = gcc([7, 2, 3]);
        clients.note(&mut wanted);
        assert!(wanted.parts.is_empty() && wanted.part_names.is_empty());

        let differences = Comparison::of(&clients, &[&ash, &birch]).differences(&ash);
        assert_eq!(differences[0].text, "/usr/bin/gcc: as differs from the clients'");

        clients.note(&mut gcc([1, 2, 3]));
        assert!(Comparison::of(&clients, &[&ash, &birch]).differences(&ash).is_empty(), "they were upgraded");
    }

    #[test]
    fn what_only_one_has_is_said() {
        let mut lacking = gcc([1, 2, 3]);
        lacking.parts.pop();
        lacking.fingerprint = "other".into();
        let (ash, birch, odd) = (worker(gcc([1, 2, 3])), worker(gcc([1, 2, 3])), worker(lacking));
        let clients = Clients::default();

        let differences = Comparison::of(&clients, &[&ash, &birch, &odd]).differences(&odd);

        assert_eq!(differences[0].parts, ["cc1plus (not here)"]);
    }

    #[test]
    fn two_that_differ_are_no_majority() {
        let (ash, birch) = (worker(gcc([1, 2, 3])), worker(gcc([1, 2, 4])));
        let clients = Clients::default();
        let comparison = Comparison::of(&clients, &[&ash, &birch]);

        assert!(comparison.differences(&ash).is_empty() && comparison.differences(&birch).is_empty());
    }

    #[test]
    fn a_worker_offers_its_drivers_with_its_linkers() {
        let gold = v1::Toolchain { path: "/usr/bin/x86_64-linux-gnu-ld.gold".into(), ..Default::default() };
        let ar = v1::Toolchain { path: "/usr/bin/ar".into(), ..Default::default() };
        let register = v1::Register { toolchains: vec![gcc([1, 2, 3]), gold.clone(), ar], ..Default::default() };

        let offered = offered(&register, Sameness::Exact);

        let wanted = v1::Toolchain { linker: Some(Box::new(gold)), ..gcc([1, 2, 3]) };
        assert!(offered.contains(&Sameness::Exact.key(&wanted)));
        assert_eq!(offered.len(), 4, "three tools, and one driver with one linker");
    }

    #[test]
    fn a_report_out_of_bounds_is_cut() {
        let many = v1::Toolchain { parts: (0..10_000).map(|n| n << 32).collect(), ..gcc([1, 2, 3]) };

        assert_eq!(parts_of(&many).len(), MOST);
    }
}
