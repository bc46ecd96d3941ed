//! Which module answers a method and a path.

use std::sync::Arc;

use http::Method;
use replug_scripts::Handler;

/// What stands behind one method of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The path pattern of the manifest, in matchit's syntax.
    pub pattern: Arc<str>,
    /// The method.
    pub method: Method,
    /// The handler in the module's script.
    pub handler: Handler,
    /// What the principal must hold, all of it; empty: public.
    pub permissions: Arc<[String]>,
}

impl Endpoint {
    /// Whether it is a page for people rather than an api.
    #[must_use]
    pub const fn is_page(&self) -> bool {
        matches!(self.handler, Handler::Page(_))
    }
}

/// Two modules claim one path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path} is taken: {owner} serves it and {claimant} claims it")]
pub struct RouteTaken {
    /// The claimed path.
    pub path: String,
    /// The claimed method.
    pub method: Method,
    /// Who serves it.
    pub owner: Arc<str>,
    /// Who claims it.
    pub claimant: Arc<str>,
}

struct Entry {
    module: Arc<str>,
    endpoints: Vec<Endpoint>,
}

/// The table. Built once for each change, never changed.
#[derive(Default)]
pub struct Routes {
    paths: matchit::Router<usize>,
    entries: Vec<Vec<Entry>>,
}

/// The answer of a look-up.
pub enum Found<'a> {
    /// This endpoint of this module, with the path's parameters, not yet decoded.
    Endpoint(&'a Arc<str>, &'a Endpoint, Vec<(&'a str, String)>),
    /// The path exists, with these methods only.
    OtherMethods(Vec<Method>),
    /// No such path.
    Nothing,
}

impl Routes {
    /// Builds the table of what each module serves. Earlier modules own what later ones claim.
    ///
    /// # Errors
    /// The first path that two modules claim.
    pub fn build<'a>(modules: impl IntoIterator<Item = (&'a Arc<str>, &'a [Endpoint])>) -> Result<Self, RouteTaken> {
        let mut table = Self::default();
        for (module, endpoints) in modules {
            for endpoint in endpoints {
                table.insert(module, endpoint)?;
            }
        }
        Ok(table)
    }

    fn insert(&mut self, module: &Arc<str>, endpoint: &Endpoint) -> Result<(), RouteTaken> {
        let taken = |owner: &Arc<str>| RouteTaken {
            path: endpoint.pattern.to_string(),
            method: endpoint.method.clone(),
            owner: Arc::clone(owner),
            claimant: Arc::clone(module),
        };
        let index = match self.paths.insert(&*endpoint.pattern, self.entries.len()) {
            Ok(()) => {
                self.entries.push(Vec::new());
                self.entries.len() - 1
            }
            // the same pattern again leads to its entry; a pattern that overlaps another one has none
            Err(_) => match self.position(&endpoint.pattern) {
                Some(index) => index,
                None => {
                    let owner = self.overlapping(&endpoint.pattern).unwrap_or_else(|| Arc::clone(module));
                    return Err(taken(&owner));
                }
            },
        };
        let holders = &mut self.entries[index];
        for holder in holders.iter() {
            if holder.module != *module && holder.endpoints.iter().any(|e| e.method == endpoint.method) {
                return Err(taken(&holder.module));
            }
        }
        match holders.iter_mut().find(|holder| holder.module == *module) {
            Some(holder) => holder.endpoints.push(endpoint.clone()),
            None => holders.push(Entry { module: Arc::clone(module), endpoints: vec![endpoint.clone()] }),
        }
        Ok(())
    }

    fn position(&self, pattern: &str) -> Option<usize> {
        self.entries
            .iter()
            .position(|holders| holders.iter().any(|holder| holder.endpoints.iter().any(|e| &*e.pattern == pattern)))
    }

    /// The owner of a pattern that `pattern` cannot stand beside.
    fn overlapping(&self, pattern: &str) -> Option<Arc<str>> {
        self.entries.iter().flatten().find_map(|holder| {
            let clash = holder.endpoints.iter().any(|e| {
                let mut pair = matchit::Router::new();
                pair.insert(&*e.pattern, ()).is_ok() && pair.insert(pattern, ()).is_err()
            });
            clash.then(|| Arc::clone(&holder.module))
        })
    }

    /// Looks up a path. `HEAD` is answered by `GET` where there is no `HEAD` of its own.
    #[must_use]
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Found<'a> {
        let Ok(found) = self.paths.at(path) else { return Found::Nothing };
        let holders = &self.entries[*found.value];
        let by = |wanted: &Method| {
            holders
                .iter()
                .find_map(|holder| holder.endpoints.iter().find(|e| e.method == *wanted).map(|e| (&holder.module, e)))
        };
        let endpoint = by(method).or_else(|| if *method == Method::HEAD { by(&Method::GET) } else { None });
        match endpoint {
            Some((module, endpoint)) => {
                let params = found.params.iter().map(|(name, value)| (name, value.to_owned())).collect();
                // the names borrow from the table, which lives as long as the answer
                Found::Endpoint(module, endpoint, params)
            }
            None => Found::OtherMethods(
                holders.iter().flat_map(|holder| holder.endpoints.iter().map(|e| e.method.clone())).collect(),
            ),
        }
    }

    /// Every endpoint with its module, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Endpoint)> {
        self.entries.iter().flatten().flat_map(|holder| holder.endpoints.iter().map(move |e| (&holder.module, e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(method: Method, pattern: &str) -> Endpoint {
        Endpoint {
            pattern: pattern.into(),
            handler: Handler::Api(format!("{method} {pattern}").into()),
            method,
            permissions: Arc::new([]),
        }
    }

    fn build(claims: &[(&str, Method, &str)]) -> Result<Routes, String> {
        let claims: Vec<(Arc<str>, [Endpoint; 1])> =
            claims.iter().map(|(module, method, path)| ((*module).into(), [endpoint(method.clone(), path)])).collect();
        Routes::build(claims.iter().map(|(module, endpoints)| (module, &endpoints[..]))).map_err(|e| e.to_string())
    }

    fn owner(routes: &Routes, method: Method, path: &str) -> String {
        match routes.find(&method, path) {
            Found::Endpoint(module, _, params) => {
                let params: Vec<_> = params.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{module} {}", params.join(" ")).trim().to_owned()
            }
            Found::OtherMethods(methods) => format!("{methods:?}"),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn a_path_is_found_by_its_method_with_its_parameters() {
        let routes = build(&[("a", Method::GET, "/x/{id}"), ("b", Method::POST, "/x/{id}"), ("c", Method::GET, "/x")])
            .expect("no conflict");
        assert_eq!(owner(&routes, Method::GET, "/x/7"), "a id=7");
        assert_eq!(owner(&routes, Method::HEAD, "/x/7"), "a id=7");
        assert_eq!(owner(&routes, Method::POST, "/x/7"), "b id=7");
        assert_eq!(owner(&routes, Method::PUT, "/x/7"), "[GET, POST]");
        assert_eq!(owner(&routes, Method::GET, "/y"), "nothing");
    }

    #[test]
    fn a_taken_route_names_both_owners() {
        let taken = build(&[("a", Method::GET, "/x"), ("b", Method::GET, "/x")]).err();
        assert_eq!(taken.as_deref(), Some("GET /x is taken: a serves it and b claims it"));
        let overlap = build(&[("a", Method::GET, "/x/{id}"), ("b", Method::GET, "/x/{name}")]).err();
        assert_eq!(overlap.as_deref(), Some("GET /x/{name} is taken: a serves it and b claims it"));
    }
}
