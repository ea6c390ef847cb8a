//! How long readings are kept: shown, changed, and what a change would let go now.

use std::sync::Arc;

use sensor_model::Pattern;
use store_wire::identity::{PeerIdentity, Role};
use store_wire::message::{
    ErrorCode, Response, RetentionRequest, RetentionRule as WireRule, WireError,
};
use tokio::time::Instant;
use tracing::{error, info};

use super::{proposed, reads};
use crate::command::{self, RETENTION_RULES_MAX};
use crate::ingest::refusal::not_applied;
use crate::node::Context;
use crate::scan::{Limits, read};
use crate::segments::manifest::RetentionRule;
use crate::state::Outcome;
use crate::upkeep::preview::{PreviewError, preview};

/// Most bytes of patterns of all rules: an answer with them fits a frame.
const PATTERN_BYTES_MAX: usize = 64 * 1024;

/// Does what an operator asks about retention, if this node leads.
///
/// # Cancel safety
/// The rules may be changed when the future is dropped.
///
/// # Errors
/// All but [`ErrorCode::Unknown`] mean that nothing was changed.
pub(super) async fn retention(
    context: &Arc<Context>,
    peer: &PeerIdentity,
    request: RetentionRequest,
    deadline: Instant,
) -> Result<Response, WireError> {
    if peer.role != Role::Operator {
        let message = format!(
            "{}/{} may not see or change retention: use an identity of the role operator",
            peer.role, peer.name
        );
        return Err(WireError::new(ErrorCode::Forbidden, message));
    }
    if !context.replica.is_leader() {
        return Err(WireError::not_leader(context.replica.leader()));
    }
    match request {
        RetentionRequest::Show => {
            let rules = read(&context.state)
                .retention()
                .iter()
                .map(to_wire)
                .collect();
            Ok(Response::Retention { rules })
        }
        RetentionRequest::Preview { rules } => {
            let rules = match rules {
                Some(rules) => checked(rules)?,
                None => read(&context.state).retention().to_vec(),
            };
            let now = context.clock.now();
            let look = move |context: &Context, limits: &Limits| {
                preview(reads::source(context), &rules, now, limits)
            };
            let overdue = reads::preview(context, peer, deadline, look).await?;
            let rules = overdue.map_err(|error| told(&error))?;
            Ok(Response::Overdue { rules })
        }
        RetentionRequest::Set { rules } => {
            // Rules take readings of any series away, of those to come too.
            if !peer.permissions.write.contains(&Pattern::everything()) {
                let message = format!(
                    "{}/{} may not write every series, and so not say how long they are kept: issue \
                     an operator without --write",
                    peer.role, peer.name
                );
                return Err(WireError::new(ErrorCode::Forbidden, message));
            }
            let rules = checked(rules)?;
            let payload = command::set_retention(&rules);
            let done = proposed(context, &peer.id(), payload, deadline).await?;
            match done.outcome {
                Outcome::RetentionSet => {
                    info!(%peer, rules = rules.len(), token = %done.token, "retention changed");
                    Ok(Response::Written { token: done.token })
                }
                outcome => Err(not_applied(outcome)),
            }
        }
    }
}

fn told(error: &PreviewError) -> WireError {
    if let PreviewError::Scan(error) = error {
        return reads::wire_error(error);
    }
    error!(%error, "what is overdue cannot be said");
    WireError::new(ErrorCode::Internal, error.to_string())
}

/// Rules that can be set.
fn checked(rules: Vec<WireRule>) -> Result<Vec<RetentionRule>, WireError> {
    let refused = |code, message: String| Err(WireError::new(code, message));
    if rules.len() > RETENTION_RULES_MAX {
        let message = format!(
            "{} rules are too many: at most {RETENTION_RULES_MAX}",
            rules.len()
        );
        return refused(ErrorCode::TooLarge, message);
    }
    let bytes: usize = rules.iter().map(|rule| rule.pattern.as_str().len()).sum();
    if bytes > PATTERN_BYTES_MAX {
        let message =
            format!("the patterns of the rules have {bytes} bytes: at most {PATTERN_BYTES_MAX}");
        return refused(ErrorCode::TooLarge, message);
    }
    for (at, rule) in rules.iter().enumerate() {
        let pattern = &rule.pattern;
        if rule.keep == 0 {
            let message = format!("rule {pattern} keeps nothing: delete the readings instead");
            return refused(ErrorCode::BadRequest, message);
        }
        if rules
            .iter()
            .take(at)
            .any(|earlier| earlier.pattern == *pattern)
        {
            let message = format!("there are two rules for {pattern}: give one");
            return refused(ErrorCode::BadRequest, message);
        }
    }
    let rules = rules.into_iter();
    Ok(rules
        .map(|WireRule { pattern, keep }| RetentionRule { pattern, keep })
        .collect())
}

fn to_wire(rule: &RetentionRule) -> WireRule {
    WireRule {
        pattern: rule.pattern.clone(),
        keep: rule.keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, keep: u64) -> WireRule {
        WireRule {
            pattern: Pattern::new(pattern).unwrap(),
            keep,
        }
    }

    fn code_of(rules: Vec<WireRule>) -> Option<ErrorCode> {
        checked(rules).err().map(|error| error.code)
    }

    #[test]
    fn the_last_rule_that_fits_is_taken_and_one_more_refused() {
        let rules = |count: usize| (0..count).map(|n| rule(&format!("a/{n}"), 1)).collect();
        assert_eq!(code_of(rules(RETENTION_RULES_MAX)), None);
        let refused = code_of(rules(RETENTION_RULES_MAX + 1));
        assert_eq!(refused, Some(ErrorCode::TooLarge));
    }

    #[test]
    fn patterns_that_fill_a_frame_are_refused() {
        let segment = "x".repeat(64);
        let long = |n: usize| format!("{n:03}/{}", vec![segment.as_str(); 15].join("/"));
        let bytes = long(0).len();
        let fitting = PATTERN_BYTES_MAX / bytes;
        let rules = |count| (0..count).map(|n| rule(&long(n), 1)).collect::<Vec<_>>();
        assert_eq!(code_of(rules(fitting)), None);
        assert_eq!(code_of(rules(fitting + 1)), Some(ErrorCode::TooLarge));
    }

    #[test]
    fn a_rule_that_keeps_nothing_or_stands_twice_is_refused() {
        assert_eq!(code_of(vec![rule("a", 1), rule("b", 1)]), None);
        assert_eq!(code_of(vec![rule("a", 0)]), Some(ErrorCode::BadRequest));
        let twice = vec![rule("a", 1), rule("b", 1), rule("a", 2)];
        assert_eq!(code_of(twice), Some(ErrorCode::BadRequest));
    }
}
