//! Where to look for the leader next.

/// Suggestions followed in a row without arriving; beyond, nodes disagree and time will tell.
const SUGGESTIONS_MAX: u32 = 3;
/// Members remembered besides the targets given.
const MEMBERS_MAX: usize = 32;

/// The targets given and the members heard of, and which comes next.
#[derive(Debug)]
pub(super) struct Route {
    targets: Vec<String>,
    position: usize,
    suggested: Option<String>,
    followed: u32,
}

impl Route {
    /// Begins with the first of `targets`.
    pub(super) fn new(targets: Vec<String>) -> Self {
        assert!(!targets.is_empty(), "the command line asks for one");
        Self {
            targets,
            position: 0,
            suggested: None,
            followed: 0,
        }
    }

    /// How many different places there are.
    pub(super) const fn len(&self) -> usize {
        self.targets.len()
    }

    /// The place to try next.
    pub(super) fn next(&mut self) -> String {
        if let Some(suggested) = self.suggested.take() {
            return suggested;
        }
        let target = self.targets[self.position % self.targets.len()].clone();
        self.position = (self.position + 1) % self.targets.len();
        target
    }

    /// A node named the leader. False when too many suggestions led nowhere: then wait a little.
    pub(super) fn suggest(&mut self, address: &str) -> bool {
        if address.is_empty() {
            return false;
        }
        if !self.targets.iter().any(|known| known == address) && self.targets.len() < MEMBERS_MAX {
            self.targets.push(address.to_owned());
        }
        self.suggested = Some(address.to_owned());
        self.followed += 1;
        self.followed <= SUGGESTIONS_MAX
    }

    /// The place tried last is the right one: try it again.
    pub(super) fn stay(&mut self) {
        self.position = (self.position + self.targets.len() - 1) % self.targets.len();
    }

    /// This place was the leader's: after it, look at the others first.
    pub(super) fn arrived(&mut self, target: &str) {
        self.followed = 0;
        if let Some(index) = self.targets.iter().position(|known| known == target) {
            self.position = (index + 1) % self.targets.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        Route::new(vec!["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn every_target_and_every_member_heard_of_is_tried_in_turn() {
        let mut route = route();
        assert_eq!(route.next(), "a");
        assert!(route.suggest("c"));
        let tried: Vec<String> = (0..5).map(|_| route.next()).collect();
        assert_eq!(tried, ["c", "b", "c", "a", "b"]);
    }

    #[test]
    fn suggestions_that_lead_in_circles_are_not_followed_at_once() {
        let mut route = route();
        let at_once: Vec<bool> = (0..5).map(|_| route.suggest("b")).collect();
        assert_eq!(at_once, [true, true, true, false, false]);
        route.arrived("b");
        assert!(route.suggest("a"));
    }

    #[test]
    fn an_overloaded_leader_is_asked_again() {
        let mut route = route();
        assert_eq!(route.next(), "a");
        route.stay();
        assert_eq!(route.next(), "a");
        assert_eq!(route.next(), "b");
    }
}
