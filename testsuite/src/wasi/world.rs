//! The directories of a program: what it finds in them, and what it leaves there.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use wasm_migrate::wasi::WasiBuilder;

use super::Settings;

/// Directories on the host, one for each of the program's, until this is dropped.
#[derive(Debug)]
pub(super) struct World {
    root: TempDir,
    names: Vec<String>,
}

/// Everything below the directories of a program.
pub(super) type Tree = BTreeMap<PathBuf, Node>;

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    Link(PathBuf),
    File(String),
    Other,
}

impl World {
    /// Directories with what the program finds at its start.
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let world = Self::empty(settings)?;
        let place = |path: &str| -> Result<PathBuf> {
            let path = world.host(0).join(path);
            let parent = path.parent().context("a file lies in a directory")?;
            std::fs::create_dir_all(parent)?;
            Ok(path)
        };
        for (path, contents) in &settings.files {
            std::fs::write(place(path)?, contents)?;
        }
        for (path, target) in &settings.links {
            symlink(target, place(path)?)?;
        }
        Ok(world)
    }

    /// Empty directories.
    pub(super) fn empty(settings: &Settings) -> Result<Self> {
        let world = Self {
            root: tempfile::tempdir().context("making a temporary directory")?,
            names: settings.dirs.clone(),
        };
        for index in 0..world.names.len() {
            std::fs::create_dir(world.host(index))?;
        }
        Ok(world)
    }

    fn host(&self, index: usize) -> PathBuf {
        self.root.path().join(format!("directory-{index}"))
    }

    /// The directories on the host with the program's names of them.
    pub(super) fn mapped(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        let names = self.names.iter().enumerate();
        names.map(|(index, name)| (self.host(index), name.as_str()))
    }

    /// A place for other files, which the program does not see.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Opens the directories to a guest.
    pub(super) fn open(&self, builder: WasiBuilder) -> Result<WasiBuilder> {
        self.mapped().try_fold(builder, |builder, (host, name)| {
            Ok(builder.preopen(&host, name)?)
        })
    }

    /// What lies below the directories now.
    pub(super) fn tree(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        for (host, _) in self.mapped() {
            self.add(&host, &mut tree)?;
        }
        Ok(tree)
    }

    fn add(&self, path: &Path, tree: &mut Tree) -> Result<()> {
        let kind = std::fs::symlink_metadata(path)?.file_type();
        let node = if kind.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.add(&entry?.path(), tree)?;
            }
            Node::Directory
        } else if kind.is_symlink() {
            Node::Link(std::fs::read_link(path)?)
        } else if kind.is_file() {
            Node::File(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
        } else {
            Node::Other
        };
        tree.insert(path.strip_prefix(self.root.path())?.to_owned(), node);
        Ok(())
    }
}
