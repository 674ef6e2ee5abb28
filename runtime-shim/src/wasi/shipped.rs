//! Files that travel with a guest into the directories that are mapped at its destination.
//!
//! ```text
//! collect (everything below the mapped directories) --> record --> plan (look only) --> Plan::write
//! ```
//!
//! Nothing in the mapped directories is touched before the whole plan is known to work: a file that is
//! missing is made, an equal one is left alone, another one is in the way unless the user has it
//! overwritten. Each file appears under its name when it is whole.

use std::collections::BTreeSet;
use std::io::{self, Write};

use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions, Permissions, PermissionsExt};
use rustix::fs::{Timespec, Timestamps};

use super::contents::{Contents, Packer, hash_of, unpack};
use super::snapshot::{DescriptorFault, DescriptorProblem, RestoreError, guest_path, unreachable};
use super::types::FileStat;
use super::wire::{SavedContent, SavedPlace, SavedShipped, ShippedKind};
use super::{ChangedFiles, Preopen};

/// Adds all files, directories and relative symbolic links below the preopened directories to `shipped`.
/// Devices, pipes and sockets stay behind, and names that are not UTF-8, which the guest cannot know.
pub(super) fn collect(
    preopens: &[Preopen],
    packer: &mut Packer,
    shipped: &mut Vec<SavedShipped>,
    problems: &mut Vec<DescriptorProblem>,
) {
    for (index, preopen) in (0..).zip(preopens) {
        let Some(dir) = &preopen.dir else {
            continue;
        };
        let mut below = |path: String| -> Result<Vec<String>, (String, DescriptorFault)> {
            let listed = match path.as_str() {
                "" => dir.entries(),
                _ => dir.read_dir(&path),
            };
            let mut directories = Vec::new();
            for entry in listed.map_err(|error| (path.clone(), unreachable(error)))? {
                let entry = entry.map_err(|error| (path.clone(), unreachable(error)))?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let path = match path.as_str() {
                    "" => name,
                    above => format!("{above}/{name}"),
                };
                let kind = match describe(dir, &path, packer) {
                    Ok(Some(kind)) => kind,
                    Ok(None) => continue,
                    Err(fault) => return Err((path, fault)),
                };
                if kind == ShippedKind::Directory {
                    directories.push(path.clone());
                }
                shipped.push(SavedShipped {
                    preopen: index,
                    path,
                    kind,
                });
            }
            Ok(directories)
        };
        let mut waiting = vec![String::new()];
        while let Some(path) = waiting.pop() {
            match below(path) {
                Ok(directories) => waiting.extend(directories),
                Err((path, fault)) => {
                    problems.push(DescriptorProblem {
                        fd: None,
                        path: guest_path(&preopen.name, &path),
                        fault,
                    });
                    return;
                }
            }
        }
    }
}

/// What lies at `path`, with its contents; `None` if that does not travel.
fn describe(
    dir: &Dir,
    path: &str,
    packer: &mut Packer,
) -> Result<Option<ShippedKind>, DescriptorFault> {
    let metadata = dir.symlink_metadata(path).map_err(unreachable)?;
    if metadata.is_dir() {
        return Ok(Some(ShippedKind::Directory));
    }
    if metadata.is_symlink() {
        let target = dir.read_link_contents(path).map_err(unreachable)?;
        let target = target.into_os_string().into_string().ok();
        let target = target.filter(|target| !target.starts_with('/'));
        return Ok(target.map(|target| ShippedKind::Link { target }));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let file = dir.open(path).map_err(unreachable)?;
    let stat = FileStat::from(&metadata);
    Ok(Some(ShippedKind::File {
        content: packer.add(file, &stat)?,
        mode: metadata.mode() & 0o777,
        modified: stat.modified(),
    }))
}

/// What is to be done in the mapped directories before the guest's descriptors are opened.
pub(super) struct Plan<'c> {
    steps: Vec<Step<'c>>,
    /// Everything that the snapshot carries.
    carried: BTreeSet<(u32, String)>,
}

/// Something to be made at a path below a directory.
struct Step<'c> {
    dir: &'c Dir,
    path: &'c str,
    what: Making<'c>,
}

enum Making<'c> {
    Directory,
    Link(&'c str),
    File {
        content: &'c SavedContent,
        mode: u32,
        modified: u64,
    },
}

/// Says what is to be done for `shipped`; what is in the way is added to `problems`.
pub(super) fn plan<'c>(
    preopens: &'c [Preopen],
    shipped: &'c [SavedShipped],
    contents: &'c Contents,
    changed: ChangedFiles,
    problems: &mut Vec<DescriptorProblem>,
) -> Result<Plan<'c>, RestoreError> {
    let mut plan = Plan {
        steps: Vec::new(),
        carried: BTreeSet::new(),
    };
    for SavedShipped {
        preopen,
        path,
        kind,
    } in shipped
    {
        let to = preopens.get(*preopen as usize);
        let to = to.ok_or_else(|| malformed(path, "lies in a directory that is not there"))?;
        if !is_plain(path) {
            return Err(malformed(path, "is no plain path"));
        }
        let what = match kind {
            ShippedKind::Directory => Making::Directory,
            ShippedKind::Link { target } => Making::Link(target),
            ShippedKind::File {
                content,
                mode,
                modified,
            } => Making::File {
                content: contents.get(*content)?,
                mode: mode & 0o777,
                modified: *modified,
            },
        };
        let wanted = match &to.dir {
            None => Err(DescriptorFault::NotMapped(to.name.clone())),
            Some(dir) => is_wanted(dir, path, &what, changed).map(|wanted| (dir, wanted)),
        };
        match wanted {
            Ok((dir, wanted)) => {
                plan.carried.insert((*preopen, path.clone()));
                if wanted {
                    plan.steps.push(Step { dir, path, what });
                }
            }
            Err(fault) => problems.push(DescriptorProblem {
                fd: None,
                path: guest_path(&to.name, path),
                fault,
            }),
        }
    }
    Ok(plan)
}

fn malformed(path: &str, what: &str) -> RestoreError {
    RestoreError::Malformed(format!("the shipped file {path:?} {what}"))
}

/// Is `path` made of names alone?
fn is_plain(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// Is something to be done for `what` at `path`?
fn is_wanted(
    dir: &Dir,
    path: &str,
    what: &Making<'_>,
    changed: ChangedFiles,
) -> Result<bool, DescriptorFault> {
    let there: Metadata = match dir.symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(unreachable(error)),
    };
    let is_same = match what {
        Making::Directory if there.is_dir() => true,
        Making::Link(target) if there.is_symlink() => {
            let found = dir.read_link_contents(path).map_err(unreachable)?;
            found.as_os_str() == *target
        }
        Making::File { content, .. } if there.is_file() => {
            there.len() == content.size
                && hash_of(dir.open(path).map_err(unreachable)?).map_err(unreachable)?
                    == content.hash
        }
        _ => return Err(DescriptorFault::OtherKind),
    };
    match (is_same, changed) {
        (true, _) | (false, ChangedFiles::Keep) => Ok(false),
        (false, ChangedFiles::Overwrite) => Ok(true),
        (false, ChangedFiles::Refuse) => Err(DescriptorFault::InTheWay),
    }
}

impl Plan<'_> {
    /// Does the snapshot carry what lies at `place`?
    pub(super) fn carries(&self, place: &SavedPlace) -> bool {
        self.carried.contains(&(place.preopen, place.path.clone()))
    }

    /// Carries it out. If a step fails, what the steps before it made stays.
    pub(super) fn write(&self) -> Result<(), RestoreError> {
        for Step { dir, path, what } in &self.steps {
            write_step(dir, path, what).map_err(|error| RestoreError::Write {
                path: (*path).to_owned(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }
}

fn write_step(dir: &Dir, path: &str, what: &Making<'_>) -> io::Result<()> {
    if let Some((above, _)) = path.rsplit_once('/') {
        dir.create_dir_all(above)?;
    }
    match what {
        Making::Directory => dir.create_dir_all(path),
        Making::Link(target) => {
            let partial = partial_path(path);
            DirExt::symlink(dir, target, &partial)?;
            dir.rename(&partial, dir, path)
        }
        Making::File {
            content,
            mode,
            modified,
        } => {
            let partial = partial_path(path);
            let mut options = OpenOptions::new();
            let mut file = dir.open_with(&partial, options.write(true).create_new(true))?;
            let written = write_file(&mut file, content, *mode, *modified)
                .and_then(|()| dir.rename(&partial, dir, path));
            if written.is_err() {
                // The first error counts; what is left then has a name that says what it is.
                let _ = dir.remove_file(&partial);
            }
            written
        }
    }
}

fn write_file(
    file: &mut cap_std::fs::File,
    content: &SavedContent,
    mode: u32,
    modified: u64,
) -> io::Result<()> {
    unpack(content, file)?;
    file.flush()?;
    file.set_permissions(Permissions::from_mode(mode))?;
    let modified = Timespec {
        tv_sec: i64::try_from(modified / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (modified % 1_000_000_000).try_into().unwrap_or(0),
    };
    let times = Timestamps {
        last_access: modified,
        last_modification: modified,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// A path beside `path` that nobody else uses, and not longer than a name may be.
fn partial_path(path: &str) -> String {
    let (above, name) = match path.rfind('/') {
        Some(slash) => path.split_at(slash + 1),
        None => ("", path),
    };
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("{above}.partial-{}-{}", std::process::id(), &digest[..16])
}

#[cfg(test)]
mod tests {
    use super::{is_plain, partial_path};

    #[test]
    fn a_partial_file_lies_beside_and_has_a_short_name() {
        let long = "x".repeat(255);
        for (path, above) in [(long.clone(), ""), (format!("a/b/{long}"), "a/b/")] {
            let partial = partial_path(&path);
            let name = partial.strip_prefix(above).expect("it lies beside");
            assert!(!name.contains('/') && name.len() < 64, "{name}");
        }
        assert_ne!(partial_path("a"), partial_path("b"));
    }

    #[test]
    fn only_names_make_a_plain_path() {
        assert!(is_plain("a"));
        assert!(is_plain("a/b c/..d"));
        for path in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b",
        ] {
            assert!(!is_plain(path), "{path:?}");
        }
    }
}
