//! What the first rendering knows. The server gathers it, renders with it, and sends it along, so
//! that the browser takes the page over without asking again.

use sensor_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::answers::{Catalog, Cluster, LastReading, Problem};
use crate::theme::Theme;
use crate::visitor::Visitor;

/// What the first rendering knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Initial {
    /// When it was gathered.
    pub now: Timestamp,
    /// The colours the reader has chosen.
    pub theme: Theme,
    /// Who looks at the page.
    pub visitor: Option<Visitor>,
    /// Whether the page comes with its browser part.
    pub has_browser_part: bool,
    /// Which series there are, ordered as the tree needs them.
    pub catalog: Result<Catalog, Problem>,
    /// The latest reading of each selected series that has one.
    pub latest: Vec<LastReading>,
    /// How the nodes are.
    pub cluster: Result<Cluster, Problem>,
}

#[cfg(not(target_arch = "wasm32"))]
pub use server::gather;

#[cfg(not(target_arch = "wasm32"))]
mod server {
    use futures::future::{join, join_all};

    use super::Initial;
    use crate::answers::{Catalog, LastAnswer};
    use crate::api::{self, CATALOG_ADDRESS, CLUSTER_ADDRESS, ServerContext, last_address};
    use crate::assets::Bundle;
    use crate::theme::Theme;
    use crate::tree;
    use crate::visitor::Visitor;

    /// Gathers everything for a page with the series `selected`. What cannot be had within a bounded
    /// time is a problem in its place.
    pub async fn gather(
        context: &ServerContext,
        theme: Theme,
        visitor: Visitor,
        selected: &[String],
    ) -> Initial {
        let catalog = async {
            let mut catalog: Catalog = api::get(context, CATALOG_ADDRESS).await?;
            tree::sort(&mut catalog.series);
            Ok(catalog)
        };
        let latest = async {
            let asked = selected.iter().map(|path| async {
                let answer: Result<LastAnswer, _> = api::get(context, &last_address(path)).await;
                answer.map(|answer| answer.readings).unwrap_or_default()
            });
            join_all(asked).await.concat()
        };
        let cluster = api::get(context, CLUSTER_ADDRESS);
        let ((catalog, cluster), latest) = join(join(catalog, cluster), latest).await;
        Initial {
            now: context.clock.now(),
            theme,
            visitor: Some(visitor),
            has_browser_part: !Bundle::default().is_empty(),
            catalog,
            latest,
            cluster,
        }
    }
}

#[cfg(test)]
impl Initial {
    /// What a page knows of an empty store.
    pub(crate) fn nothing() -> Self {
        Self {
            now: Timestamp::default(),
            theme: Theme::default(),
            visitor: None,
            has_browser_part: true,
            catalog: Ok(Catalog::default()),
            latest: Vec::new(),
            cluster: Ok(Cluster::default()),
        }
    }
}
