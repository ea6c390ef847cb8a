//! The bar on top, with the cluster at a glance.

use leptos::either::Either;
use leptos::prelude::*;

use crate::answers::{Cluster, Node};
use crate::live::Feed;
use crate::page::top_bar::TopBar;
use crate::theme::Theme;
use crate::visitor::Visitor;

/// The bar on top of the page.
#[component]
pub(crate) fn Header(feed: Feed, theme: Theme, visitor: Option<Visitor>) -> impl IntoView {
    view! {
        <TopBar theme=theme visitor=visitor here="/">
            <ClusterStrip feed=feed />
        </TopBar>
    }
}

/// Every node: its role, and whether it answers.
#[component]
fn ClusterStrip(feed: Feed) -> impl IntoView {
    view! {
        <section class="cluster" aria-label="Cluster">
            {move || match feed.cluster.get() {
                Ok(cluster) => Either::Left(nodes(&cluster)),
                Err(problem) => {
                    Either::Right(view! {
                        <p class="node" data-state="down" title=problem.message().to_owned()>
                            <i class="dot"></i>
                            "No node answers"
                        </p>
                    })
                }
            }}
        </section>
    }
}

fn nodes(cluster: &Cluster) -> impl IntoView + use<> {
    let applied_max = cluster
        .nodes
        .iter()
        .filter_map(|node| node.applied_index)
        .max();
    let chips: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| node_chip(node, applied_max.unwrap_or_default()))
        .collect();
    view! { <ul>{chips}</ul> }
}

fn node_chip(node: &Node, applied_max: u64) -> impl IntoView + use<> {
    let name = match (node.id, &node.address) {
        (Some(id), _) => format!("Node {id}"),
        (None, Some(address)) => address.clone(),
        (None, None) => "Node".to_owned(),
    };
    let (state, role) = match (&node.error, &node.role) {
        (None, Some(role)) => (role.clone(), role.clone()),
        _ => ("down".to_owned(), "unreachable".to_owned()),
    };
    let load = node.load.clone().filter(|load| load != "ACTIVE");
    let behind = applied_max.saturating_sub(node.applied_index.unwrap_or(applied_max));
    let title = match (&node.error, node.applied_index) {
        (Some(error), _) => error.clone(),
        (None, Some(applied)) => format!("applied up to {applied}, {behind} behind the furthest"),
        (None, None) => String::new(),
    };
    view! {
        <li class="node" data-state=state title=title>
            <i class="dot"></i>
            <b>{name}</b>
            <span>{role}</span>
            {load.map(|load| view! { <span class="load">{load.to_lowercase()}</span> })}
        </li>
    }
}
