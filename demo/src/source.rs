/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The server's own memory, in front of the store.
    Local,
    /// The store. What stands in front of it and was held against it counts as that too.
    Store,
    /// The database.
    Database,
}

impl Source {
    /// In a word, as the page has it.
    ///
    /// ```
    /// assert_eq!(larder_demo::Source::Local.as_str(), "local");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Store => "store",
            Self::Database => "database",
        }
    }
}
