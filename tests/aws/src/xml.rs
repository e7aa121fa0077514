//! The XML of the Query protocol as a tree: names, text and children. Attributes carry nothing there but the namespace.

use std::fmt::{Display, Write};

/// One element. Text is kept only where there are no children.
#[derive(Clone, Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Parses a document; the second value is the namespace of its root.
    pub(crate) fn parse(text: &str) -> Result<(Self, String), roxmltree::Error> {
        let document = roxmltree::Document::parse(text)?;
        let root = document.root_element();
        Ok((Self::of(root), root.tag_name().namespace().unwrap_or_default().to_owned()))
    }

    fn of(node: roxmltree::Node<'_, '_>) -> Self {
        let children: Vec<Self> = node.children().filter(roxmltree::Node::is_element).map(Self::of).collect();
        let text =
            if children.is_empty() { node.text().unwrap_or_default().to_owned() } else { String::new() };
        Self { name: node.tag_name().name().to_owned(), text, children }
    }

    /// Adds a child that holds a text.
    pub(crate) fn leaf(self, name: &str, text: impl Display) -> Self {
        self.inside(Self { name: name.to_owned(), text: text.to_string(), children: Vec::new() })
    }

    /// As [`Self::leaf`], if there is a text.
    pub(crate) fn leaf_if(self, name: &str, text: Option<impl Display>) -> Self {
        match text {
            Some(text) => self.leaf(name, text),
            None => self,
        }
    }

    /// Adds a child.
    pub(crate) fn inside(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Adds a list: a child whose children are all called `member`.
    pub(crate) fn list(self, name: &str, members: impl IntoIterator<Item = Self>) -> Self {
        let children = members.into_iter().map(|m| Self { name: "member".to_owned(), ..m }).collect();
        self.inside(Self { name: name.to_owned(), text: String::new(), children })
    }

    /// Adds a list of texts.
    pub(crate) fn texts(self, name: &str, texts: impl IntoIterator<Item = impl Display>) -> Self {
        self.list(
            name,
            texts.into_iter().map(|t| Self { text: t.to_string(), ..Self::default() }).collect::<Vec<_>>(),
        )
    }

    /// The element below this one that a path such as `vpc/vpcId` leads to, by the first child of each name.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |at, name| at.children.iter().find(|c| c.name == name))
    }

    /// The text at a path.
    pub(crate) fn at(&self, path: &str) -> Option<&str> {
        self.find(path).map(|e| e.text.as_str())
    }

    /// The children of the element at a path; none if it is not there.
    pub(crate) fn items(&self, path: &str) -> &[Self] {
        self.find(path).map_or(&[], |e| &e.children)
    }

    /// The first element of that name anywhere below.
    pub(crate) fn anywhere(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|c| if c.name == name { Some(c) } else { c.anywhere(name) })
    }

    /// The document with this element as its root.
    pub(crate) fn document(&self, namespace: &str) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
        self.write(&mut out, Some(namespace));
        out
    }

    fn write(&self, out: &mut String, namespace: Option<&str>) {
        let name = &self.name;
        // Writing to a string cannot fail.
        let _ = match namespace {
            Some(namespace) => write!(out, "<{name} xmlns=\"{}\">", escaped(namespace)),
            None => write!(out, "<{name}>"),
        };
        out.push_str(&escaped(&self.text));
        for child in &self.children {
            child.write(out, None);
        }
        let _ = write!(out, "</{name}>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
