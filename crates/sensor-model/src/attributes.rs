//! Free attributes of a series.

use std::collections::{BTreeMap, btree_map};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Free `key=value` pairs that describe a series, ordered by key.
///
/// Clones share one map, which most series have in common with many others, until one is changed.
///
/// Invariant: without pairs there is no map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Attributes(Option<Arc<BTreeMap<String, String>>>);

impl Attributes {
    /// No attributes.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Sets `key` to `value`; gives what it was.
    pub fn insert(&mut self, key: String, value: String) -> Option<String> {
        Arc::make_mut(self.0.get_or_insert_default()).insert(key, value)
    }

    /// Takes `key` away; gives what it was.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let map = self.0.as_mut().filter(|map| map.contains_key(key))?;
        let value = Arc::make_mut(map).remove(key);
        if map.is_empty() {
            self.0 = None;
        }
        value
    }
}

impl Deref for Attributes {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl From<BTreeMap<String, String>> for Attributes {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }
}

impl From<Attributes> for BTreeMap<String, String> {
    fn from(attributes: Attributes) -> Self {
        attributes.0.map(Arc::unwrap_or_clone).unwrap_or_default()
    }
}

impl<const N: usize> From<[(String, String); N]> for Attributes {
    fn from(pairs: [(String, String); N]) -> Self {
        BTreeMap::from(pairs).into()
    }
}

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        BTreeMap::from_iter(pairs).into()
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_one_clone_is_not_seen_in_another() {
        let one = Attributes::from([("line".to_owned(), "1".to_owned())]);
        let mut other = one.clone();
        assert_eq!(
            other.insert("line".to_owned(), "2".to_owned()).as_deref(),
            Some("1")
        );
        assert_eq!((one["line"].as_str(), other["line"].as_str()), ("1", "2"));
    }

    #[test]
    fn none_left_is_none_at_all() {
        let mut attributes = Attributes::from([("line".to_owned(), "1".to_owned())]);
        assert_eq!(attributes.remove("hall"), None);
        assert_eq!(attributes.remove("line").as_deref(), Some("1"));
        assert_eq!(attributes, Attributes::new());
        assert_eq!(attributes, BTreeMap::new().into());
        assert_eq!(attributes.iter().next(), None);
    }
}
