//! Every place of many words in a text, in one pass over it (Aho and Corasick, 1975).
//!
//! The crate of that name lists at each state *all* words that end there, which words
//! like `a`, `aa`, `aaa`, … make quadratic in memory. Here the longest is enough, because
//! the others lie within it.

use std::{collections::VecDeque, ops::Range};

/// The root's number. As a child's or a sibling's it means that there is none.
const ROOT: usize = 0;

/// A tree of the words' bytes, in which each node also knows where to go on when the
/// next byte does not fit.
pub(crate) struct Finder {
    nodes: Vec<Node>,
    /// The root's children: those of all other nodes are lists.
    first: [usize; 256],
}

#[derive(Clone, Default)]
struct Node {
    byte: u8,
    /// Length of the longest word that ends here; 0: none does.
    longest: usize,
    /// The node of the longest proper suffix that is also in the tree.
    otherwise: usize,
    child: usize,
    sibling: usize,
}

impl Finder {
    /// Of words that have so many bytes together.
    pub(crate) fn of<'a>(words: impl IntoIterator<Item = &'a String>, bytes: usize) -> Self {
        let mut finder = Self { nodes: Vec::with_capacity(bytes + 1), first: [ROOT; 256] };
        finder.nodes.push(Node::default());
        for word in words {
            let end = word.bytes().fold(ROOT, |node, byte| finder.child_or_new(node, byte));
            finder.nodes[end].longest = word.len();
        }
        finder.link();
        finder
    }

    fn child(&self, node: usize, byte: u8) -> Option<usize> {
        if node == ROOT {
            return Some(self.first[usize::from(byte)]).filter(|child| *child != ROOT);
        }
        let mut child = self.nodes[node].child;
        while child != ROOT && self.nodes[child].byte != byte {
            child = self.nodes[child].sibling;
        }
        Some(child).filter(|child| *child != ROOT)
    }

    fn child_or_new(&mut self, node: usize, byte: u8) -> usize {
        if let Some(child) = self.child(node, byte) {
            return child;
        }
        let new = self.nodes.len();
        let sibling = self.nodes[node].child;
        self.nodes.push(Node { byte, sibling, ..Node::default() });
        self.nodes[node].child = new;
        if node == ROOT {
            self.first[usize::from(byte)] = new;
        }
        new
    }

    /// Level by level, because a suffix is shorter than what it is of.
    fn link(&mut self) {
        let mut level = VecDeque::from([ROOT]);
        while let Some(node) = level.pop_front() {
            let mut child = self.nodes[node].child;
            while child != ROOT {
                let byte = self.nodes[child].byte;
                if node != ROOT {
                    let otherwise = self.next(self.nodes[node].otherwise, byte);
                    let inherited = self.nodes[otherwise].longest;
                    let linked = &mut self.nodes[child];
                    linked.otherwise = otherwise;
                    linked.longest = linked.longest.max(inherited);
                }
                level.push_back(child);
                child = self.nodes[child].sibling;
            }
        }
    }

    /// The node of the longest suffix, of what led to `node` and this byte, that is in
    /// the tree.
    fn next(&self, mut node: usize, byte: u8) -> usize {
        loop {
            match self.child(node, byte) {
                Some(child) => return child,
                None if node == ROOT => return ROOT,
                None => node = self.nodes[node].otherwise,
            }
        }
    }

    /// Where words stand in a text, in order; those that overlap or touch are one place.
    /// `None`: in more than so many places.
    pub(crate) fn places(&self, text: &str, most: usize) -> Option<Vec<Range<usize>>> {
        let mut places: Vec<Range<usize>> = Vec::new();
        let mut node = ROOT;
        for (at, byte) in text.bytes().enumerate() {
            node = self.next(node, byte);
            let length = self.nodes[node].longest;
            if length == 0 {
                continue;
            }
            let mut place = at + 1 - length..at + 1;
            while let Some(last) = places.pop_if(|last| last.end >= place.start) {
                place.start = place.start.min(last.start);
            }
            places.push(place);
            if places.len() > most {
                return None;
            }
        }
        Some(places)
    }
}
