//! What this worker says of itself.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use model::ids::{CpuClass, Incarnation};
use model::speed::Speed;
use proto::v1;
use proto::version::hello;

use crate::SOFTWARE;
use crate::books::Books;
use crate::config::Config;
use crate::facts::Host;
use crate::mounts::MountView;
use crate::obituary::LastWords;
use crate::toolchains::Toolchain;

/// The constant part of the registration, for one run of the daemon.
#[derive(Debug)]
pub(crate) struct Registration {
    incarnation: Incarnation,
    obituary_key: [u8; 16],
    /// The run of the server that welcomed us last.
    last_server: Bytes,
    host: Host,
    toolchains: Arc<[Toolchain]>,
    isolates: bool,
    mounts: Vec<MountView>,
    headers: Option<u64>,
    speed: Option<Speed>,
}

impl Registration {
    /// `isolates`: nothing that an attempt writes is seen before its commit, on any mount.
    pub(crate) fn new(
        last_words: &LastWords,
        host: Host,
        toolchains: Vec<Toolchain>,
        isolates: bool,
        speed: Option<Speed>,
    ) -> Self {
        let incarnation = Incarnation::from_bytes(last_words.incarnation);
        let (obituary_key, toolchains) = (last_words.key, toolchains.into());
        let headers = daemon_kit::system_headers::digest();
        Self {
            incarnation,
            obituary_key,
            last_server: Bytes::new(),
            host,
            toolchains,
            isolates,
            mounts: Vec::new(),
            headers,
            speed,
        }
    }

    /// Takes the result of another scan; true if it differs.
    pub(crate) fn replace_toolchains(&mut self, found: Vec<Toolchain>) -> bool {
        let differs = *self.toolchains != *found;
        for tool in self.toolchains.iter().filter(|tool| !found.contains(tool)) {
            tracing::info!(tool = %tool.path.display(), "is another now, or gone");
        }
        self.toolchains = found.into();
        differs
    }

    /// Takes what the mounts look like now.
    pub(crate) fn replace_mounts(&mut self, seen: Vec<MountView>) {
        self.mounts = seen;
    }

    /// A server has welcomed us.
    pub(crate) fn on_welcome(&mut self, server: Bytes) {
        self.last_server = server;
    }

    pub(crate) fn toolchains(&self) -> Arc<[Toolchain]> {
        Arc::clone(&self.toolchains)
    }

    /// `lost` of the configured slots cannot be used.
    pub(crate) fn message(&self, config: &Config, books: &Books, draining: bool, lost: u32) -> v1::Register {
        let us = rustix::process::geteuid();
        v1::Register {
            hello: Some(hello(SOFTWARE, *self.incarnation.as_bytes(), &self.host.name)),
            name: config.name.clone(),
            slots: config.slots.saturating_sub(lost),
            lost_slots: lost,
            linking: config.linking,
            toolchains: self.toolchains.iter().map(toolchain).collect(),
            mounts: self.mounts.iter().filter(|view| view.is_sound()).map(|view| bytes_of(view.path())).collect(),
            headers: self.headers.map_or_else(Bytes::new, |digest| Bytes::copy_from_slice(&digest.to_be_bytes())),
            mount_reports: self.mounts.iter().map(MountView::report).collect(),
            any_user: us.is_root(),
            uid: us.as_raw(),
            memory: self.host.memory,
            cpus: self.host.cpus,
            cpu_model: self.host.cpu_model.clone(),
            cpu_class: self.host.cpu_class.map_or(0, CpuClass::digest),
            holding: books.holding(),
            draining,
            isolates: self.isolates,
            unpermitted: books.unpermitted(),
            last_server: self.last_server.clone(),
            obituary_key: Bytes::copy_from_slice(&self.obituary_key),
            speed: self.speed.map_or(0, Speed::per_second),
        }
    }
}

fn toolchain(tool: &Toolchain) -> v1::Toolchain {
    let parts = tool.known.parts();
    v1::Toolchain {
        path: bytes_of(&tool.path),
        size: tool.size,
        version: tool.known.version().to_owned(),
        target: tool.known.target().to_owned(),
        fingerprint: Bytes::copy_from_slice(&tool.known.fingerprint().0),
        parts: parts.iter().map(toolchain::Part::code).collect(),
        part_names: parts.iter().map(|part| part.name().to_owned()).collect(),
        linker: None,
    }
}

fn bytes_of(path: &std::path::Path) -> Bytes {
    Bytes::copy_from_slice(path.as_os_str().as_bytes())
}
