//! What becomes of a guest's files when it moves: which contents go along, and how closely a file at the
//! destination must be the one that the guest had open.

/// How a guest's files are treated at a snapshot and at a resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePolicy {
    /// Which contents a snapshot carries, besides those of files that have no name any more.
    pub ship: ShipFiles,
    /// What must be equal for a file to count as unchanged.
    pub check: CheckFiles,
    /// What a resume does about files that have changed.
    pub changed: ChangedFiles,
    /// Most bytes of contents that a snapshot carries, and that a resume accepts.
    pub ship_bytes_max: u64,
}

/// Which files a snapshot carries with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShipFiles {
    /// Only those that were removed while open, which cannot be found anywhere else.
    #[default]
    Unnamed,
    /// All that are open.
    Open,
    /// Everything in the mapped directories: files, directories and symbolic links.
    Dirs,
}

/// What is compared of an open file that is not shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckFiles {
    /// Its size.
    #[default]
    Size,
    /// Its size and its time of modification.
    Modified,
    /// Its contents. The snapshot must have been taken under this policy, or carry the file.
    Hash,
}

/// What happens to a file that is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChangedFiles {
    /// The guest is not resumed; all such files are listed.
    #[default]
    Refuse,
    /// The guest goes on with the file as it is now.
    Keep,
    /// The file is replaced by the one that the snapshot carries; if it carries none, the guest is not
    /// resumed.
    Overwrite,
}

impl Default for FilePolicy {
    fn default() -> Self {
        Self {
            ship: ShipFiles::default(),
            check: CheckFiles::default(),
            changed: ChangedFiles::default(),
            ship_bytes_max: 256 << 20,
        }
    }
}
