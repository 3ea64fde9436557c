//! Finds many words in a text, in one pass over the text (Aho and Corasick, 1975).
//!
//! The crate `aho-corasick` lists at each state *all* words that end there, which takes quadratic
//! memory for words like `a`, `aa`, `aaa`, …. Here each state keeps only the longest word, because
//! the others lie within it.

use std::{collections::VecDeque, ops::Range};

/// The root's number. As the number of a child or sibling it means that the node has none.
const ROOT: usize = 0;

/// A tree of the words' bytes. Each node also links to the node from which to continue if the next
/// byte does not match.
pub(crate) struct Finder {
    nodes: Vec<Node>,
    /// The root's children, by byte. The children of other nodes are linked lists.
    first: [usize; 256],
}

#[derive(Clone, Default)]
struct Node {
    byte: u8,
    /// Length of the longest word that ends here. It is 0 if no word does.
    longest: usize,
    /// The node for the longest proper suffix of this node's text that is also in the tree.
    otherwise: usize,
    child: usize,
    sibling: usize,
}

impl Finder {
    /// Builds a finder for these words. `bytes` is the sum of their lengths.
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

    /// Links each node to its suffix's node, level by level, because a suffix is shorter than its
    /// text.
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

    /// Returns the next state after reading `byte`: the node for the longest suffix of the text
    /// read so far that is in the tree.
    fn next(&self, mut node: usize, byte: u8) -> usize {
        loop {
            match self.child(node, byte) {
                Some(child) => return child,
                None if node == ROOT => return ROOT,
                None => node = self.nodes[node].otherwise,
            }
        }
    }

    /// Returns the ranges of the text in which the words occur, in order. Ranges that overlap or
    /// touch are joined. Returns `None` if there are more than `most` ranges.
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
