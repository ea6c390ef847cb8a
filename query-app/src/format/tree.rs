//! Paths as the tree they form, for people.

use std::collections::BTreeMap;

use sensor_model::SeriesDescription;

use crate::client::answer::SeriesAnswer;
use crate::format::time_text::write_display;

/// The paths as a tree, each leaf with its kind and unit.
pub fn tree(answer: &SeriesAnswer) -> Vec<u8> {
    let mut root = Branch::default();
    for info in &answer.series {
        let mut branch = &mut root;
        for segment in info.description.path.segments() {
            branch = branch.children.entry(segment).or_default();
        }
        branch.series = Some(&info.description);
    }
    let mut out = Vec::new();
    write_branches(&root, &mut String::new(), Depth::Root, &mut out);
    out
}

#[derive(Default)]
struct Branch<'a> {
    children: BTreeMap<&'a str, Branch<'a>>,
    series: Option<&'a SeriesDescription>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Root,
    Below,
}

fn write_branches(branch: &Branch<'_>, indent: &mut String, depth: Depth, out: &mut Vec<u8>) {
    let last = branch.children.len().saturating_sub(1);
    for (position, (segment, child)) in branch.children.iter().enumerate() {
        let (joint, rest) = match (depth, position == last) {
            (Depth::Root, _) => ("", ""),
            (Depth::Below, true) => ("└── ", "    "),
            (Depth::Below, false) => ("├── ", "│   "),
        };
        write_display(format_args!("{indent}{joint}{segment}"), out);
        if let Some(series) = child.series {
            write_display(format_args!("  {}", series.kind), out);
            if !series.unit.as_str().is_empty() {
                write_display(format_args!(" {}", series.unit), out);
            }
        }
        out.push(b'\n');
        indent.push_str(rest);
        write_branches(child, indent, Depth::Below, out);
        indent.truncate(indent.len() - rest.len());
    }
}

#[cfg(test)]
mod tests {
    use sensor_model::{Kind, SeriesPath, Token, Unit};
    use store_wire::message::{Freshness, SeriesInfo};

    use super::*;

    fn info(path: &str, kind: Kind, unit: &str) -> SeriesInfo {
        let mut description = SeriesDescription::new(SeriesPath::new(path).unwrap(), kind);
        description.unit = Unit::new(unit).unwrap();
        SeriesInfo {
            description,
            count: 0,
            first: None,
            last: None,
        }
    }

    #[test]
    fn the_tree_shows_each_branch_once() {
        let answer = SeriesAnswer {
            freshness: Freshness {
                replica: 1,
                applied: Token { shard: 0, index: 9 },
                age_ms: None,
            },
            token: Token { shard: 0, index: 9 },
            series: vec![
                info("host/cpu", Kind::F64, "%"),
                info("plant/a/on", Kind::Bool, ""),
                info("plant/a/temperature", Kind::F64, "Cel"),
                info("plant/b", Kind::Text, ""),
            ],
        };
        assert_eq!(
            String::from_utf8(tree(&answer)).unwrap(),
            "\
host
└── cpu  f64 %
plant
├── a
│   ├── on  bool
│   └── temperature  f64 Cel
└── b  text
"
        );
    }
}
