//! A bounded map that forgets what was not asked for lately, by two generations.

use crate::sync::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

struct Generations<K, V> {
    young: HashMap<K, Arc<V>>,
    old: HashMap<K, Arc<V>>,
    young_cost: usize,
}

/// Keeps values up to a total cost. Once half of it is young, the old half is forgotten; what is asked for becomes
/// young again.
pub struct Cache<K, V> {
    bound: usize,
    inner: Mutex<Generations<K, V>>,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// A cache for values of `bound` cost in all.
    pub fn new(bound: usize) -> Self {
        let inner = Generations { young: HashMap::new(), old: HashMap::new(), young_cost: 0 };
        Cache { bound, inner: Mutex::new(inner) }
    }

    /// The value, if it is kept; `cost` is what it costs to keep it on.
    pub fn get(&self, key: &K, cost: impl Fn(&V) -> usize) -> Option<Arc<V>> {
        let mut inner = lock(&self.inner);
        if let Some(value) = inner.young.get(key) {
            return Some(value.clone());
        }
        let value = inner.old.remove(key)?;
        let cost = cost(&value);
        Self::insert(&mut inner, self.bound, key.clone(), value.clone(), cost);
        Some(value)
    }

    /// Keeps a value.
    pub fn put(&self, key: K, value: Arc<V>, cost: usize) {
        let mut inner = lock(&self.inner);
        Self::insert(&mut inner, self.bound, key, value, cost);
    }

    fn insert(inner: &mut Generations<K, V>, bound: usize, key: K, value: Arc<V>, cost: usize) {
        if inner.young_cost + cost > bound / 2 {
            inner.old = std::mem::take(&mut inner.young);
            inner.young_cost = 0;
        }
        if inner.young.insert(key, value).is_none() {
            inner.young_cost += cost;
        }
    }
}
