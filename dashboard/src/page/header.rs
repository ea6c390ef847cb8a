//! The bar on top: name, the cluster at a glance, light or dark.

use leptos::either::Either;
use leptos::prelude::*;

use crate::answers::{Cluster, Node};
use crate::live::Feed;
use crate::theme::{self, Theme};

/// The bar on top of the page.
#[component]
pub(crate) fn Header(feed: Feed, theme: Theme) -> impl IntoView {
    view! {
        <header class="top">
            <h1 class="brand">
                <a href="/">
                    <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
                        <path d="M2 8c3.3-4 6.7-4 10 0s6.7 4 10 0" />
                        <path d="M2 16c3.3-4 6.7-4 10 0s6.7 4 10 0" />
                    </svg>
                    "Tidemark"
                </a>
            </h1>
            <ClusterStrip feed=feed />
            <ThemeSwitch theme=theme />
        </header>
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

/// Light, dark, or as the system has it.
#[component]
fn ThemeSwitch(theme: Theme) -> impl IntoView {
    let choices = Theme::ALL.map(|choice| {
        let name = choice.as_str();
        view! {
            <label title=format!("Colours: {name}")>
                <input
                    type="radio"
                    name="theme"
                    value=name
                    checked=choice == theme
                    on:change=move |_| theme::choose(choice)
                />
                <span>{name}</span>
            </label>
        }
    });
    view! {
        <fieldset class="segments theme">
            <legend class="unseen">"Colours"</legend>
            {choices.collect_view()}
        </fieldset>
    }
}
