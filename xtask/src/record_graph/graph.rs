//! What ninja knows of a build: commands from `ninja -t compdb`, the arrows between them from `ninja -t graph`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::process;

/// One command of a build, or a name for several results (phony).
#[derive(Debug, Default)]
pub(crate) struct Edge {
    /// The name of its rule.
    pub(crate) rule: String,
    /// The shell command; empty for a phony edge.
    pub(crate) command: String,
    /// Results, the most important first.
    pub(crate) outputs: Vec<String>,
    /// Files that exist before the build, as ninja names them, in its order.
    pub(crate) sources: Vec<String>,
    /// Edges that must be done before it.
    pub(crate) needs: BTreeSet<usize>,
}

/// The edges that `target` takes, each after what it needs.
pub(crate) fn read(dir: &Path, target: &str) -> anyhow::Result<Vec<Edge>> {
    let drawing = process::capture(Command::new("ninja").current_dir(dir).args(["-t", "graph", target]))?;
    let commands = commands(dir)?;
    let drawing = Drawing::parse(&drawing)?;
    sorted(drawing.edges(&commands))
}

/// Command and most important output of each edge, by that output.
fn commands(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = process::capture(Command::new("ninja").current_dir(dir).args(["-t", "compdb", "-x"]))?;
    let list: Vec<Value> = serde_json::from_str(&text).context("ninja -t compdb printed no JSON list")?;
    let word = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(list.iter().filter_map(|entry| Some((word(entry, "output")?, word(entry, "command")?))).collect())
}

/// The nodes and arrows of ninja's drawing. An edge with one input and one output is drawn as an arrow, any other as a
/// node of its own.
#[derive(Debug, Default)]
struct Drawing {
    files: BTreeMap<String, String>,
    rules: BTreeMap<String, String>,
    arrows: Vec<(String, String, Option<String>)>,
}

impl Drawing {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut drawing = Self::default();
        for line in text.lines().filter(|line| line.starts_with('"')) {
            let ids: Vec<&str> = line.split('"').collect();
            let label = line.split_once("label=\"").and_then(|(_, rest)| rest.split_once('"'));
            let label = label.map(|(label, _)| label.trim().to_owned());
            match (ids.get(1), line.contains(" -> ").then(|| ids.get(3)).flatten(), label) {
                (Some(from), Some(to), label) => drawing.arrows.push(((*from).into(), (*to).into(), label)),
                (Some(id), None, Some(label)) if line.contains("shape=ellipse") => {
                    drawing.rules.insert((*id).into(), label);
                }
                (Some(id), None, Some(label)) => {
                    drawing.files.insert((*id).into(), label);
                }
                _ => bail!("cannot read this line of ninja -t graph: {line}"),
            }
        }
        Ok(drawing)
    }

    fn edges(&self, commands: &BTreeMap<String, String>) -> Vec<Edge> {
        let mut edges: BTreeMap<String, Edge> = BTreeMap::new();
        let (mut inputs, mut producer) = (BTreeMap::<String, Vec<&str>>::new(), BTreeMap::new());
        for (from, to, label) in &self.arrows {
            let (key, rule) = match (self.rules.get(from), self.rules.get(to), label) {
                (Some(rule), _, _) => (from.clone(), rule.clone()),
                (None, Some(rule), _) => (to.clone(), rule.clone()),
                (None, None, label) => (format!("{from} {to}"), label.clone().unwrap_or_default()),
            };
            let edge = edges.entry(key.clone()).or_insert_with(|| Edge { rule, ..Edge::default() });
            if let Some(file) = self.files.get(to) {
                edge.outputs.push(file.clone());
                producer.insert(to.as_str(), key.clone());
            }
            if self.files.contains_key(from) {
                inputs.entry(key).or_default().push(from);
            }
        }
        let number: BTreeMap<&str, usize> = edges.keys().map(String::as_str).zip(0..).collect();
        let needs: Vec<(Vec<String>, BTreeSet<usize>)> = edges
            .keys()
            .map(|key| {
                let ids = inputs.get(key).map_or(&[][..], Vec::as_slice);
                let made =
                    ids.iter().filter_map(|id| producer.get(id)).filter_map(|key| number.get(key.as_str()).copied());
                let found =
                    ids.iter().filter(|id| !producer.contains_key(*id)).filter_map(|id| self.files.get(*id).cloned());
                (found.collect(), made.collect())
            })
            .collect();
        let complete = |(mut edge, (sources, needs)): (Edge, (Vec<String>, BTreeSet<usize>))| {
            if let Some(main) = edge.outputs.iter().position(|output| commands.contains_key(output)) {
                edge.outputs.swap(0, main);
                edge.command =
                    commands.get(&edge.outputs[0]).filter(|_| edge.rule != "phony").cloned().unwrap_or_default();
            }
            Edge { sources, needs, ..edge }
        };
        edges.into_values().zip(needs).map(complete).collect()
    }
}

/// In an order in which they can be run, the same for the same build: by outputs where the graph leaves it open.
fn sorted(mut edges: Vec<Edge>) -> anyhow::Result<Vec<Edge>> {
    let mut waits: Vec<usize> = edges.iter().map(|edge| edge.needs.len()).collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (index, edge) in edges.iter().enumerate() {
        edge.needs.iter().for_each(|&need| waiters[need].push(index));
    }
    let mut first: Vec<usize> = (0..edges.len()).filter(|&index| waits[index] == 0).collect();
    first.sort_by(|&a, &b| edges[a].outputs.cmp(&edges[b].outputs));
    let (mut ready, mut order) = (VecDeque::from(first), Vec::new());
    while let Some(index) = ready.pop_front() {
        order.push(index);
        let mut freed = Vec::new();
        for &waiter in &waiters[index] {
            waits[waiter] -= 1;
            if waits[waiter] == 0 {
                freed.push(waiter);
            }
        }
        freed.sort_by(|&a, &b| edges[a].outputs.cmp(&edges[b].outputs));
        ready.extend(freed);
    }
    if order.len() != edges.len() {
        bail!("{} edges wait for each other", edges.len() - order.len());
    }
    let mut place = vec![0; edges.len()];
    order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
    let renumber = |old: usize| {
        let edge = std::mem::take(&mut edges[old]);
        let needs = edge.needs.iter().map(|&need| place[need]).collect();
        Edge { needs, ..edge }
    };
    Ok(order.into_iter().map(renumber).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWING: &str = r#"digraph ninja {
rankdir="LR"
"0x1" [label="app"]
"0x2" [label="LINK", shape=ellipse]
"0x2" -> "0x1"
"0x3" -> "0x2" [arrowhead=none]
"0x4" -> "0x2" [arrowhead=none style=dotted]
"0x3" [label="a.o"]
"0x5" -> "0x3" [label=" CXX"]
"0x5" [label="a.cc"]
"0x4" [label="gen.h"]
"0x6" -> "0x4" [label=" phony"]
"0x6" [label="gen.in"]
}"#;

    #[test]
    fn arrows_and_ellipses_are_both_edges() {
        let commands = [("app", "ld"), ("a.o", "cc"), ("gen.h", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let drawing = Drawing::parse(DRAWING).expect("a drawing of ninja's");

        let edges = sorted(drawing.edges(&commands.into())).expect("no circle");

        let shown: Vec<_> = edges.iter().map(|e| (e.outputs[0].as_str(), e.command.as_str(), &e.needs)).collect();
        assert_eq!(shown[2], ("app", "ld", &BTreeSet::from([0, 1])));
        assert_eq!((edges[0].outputs[0].as_str(), edges[0].sources.as_slice()), ("a.o", &["a.cc".to_owned()][..]));
        assert_eq!((edges[1].outputs[0].as_str(), edges[1].command.as_str()), ("gen.h", ""));
    }
}
