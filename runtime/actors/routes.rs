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

/// What one module holds of a place.
struct Holder {
    module: Arc<str>,
    /// Whether two versions share the module's traffic; their endpoints are all here.
    shared: bool,
    endpoints: Vec<Endpoint>,
}

/// What stands behind one pattern.
struct Place {
    pattern: Arc<str>,
    holders: Vec<Holder>,
}

/// The table. Built once for each change, never changed.
#[derive(Default)]
pub struct Routes {
    paths: matchit::Router<usize>,
    places: Vec<Place>,
}

/// The answer of a look-up.
pub enum Found<'a> {
    /// This endpoint of this module, with the path's parameters, not yet decoded.
    Endpoint(&'a Arc<str>, &'a Endpoint, Vec<(&'a str, String)>),
    /// Some version of this module, whose versions differ in what they serve.
    Shared(&'a Arc<str>),
    /// The path exists, with these methods only.
    OtherMethods(Vec<Method>),
    /// No such path.
    Nothing,
}

impl Routes {
    /// Builds the table of what each module serves, one list of endpoints for each of its versions that take traffic.
    /// Earlier modules own what later ones claim. Versions of one module may overlap: whatever one of them answers leads
    /// to the module.
    ///
    /// # Errors
    /// The first path that two modules claim.
    pub fn build<'a>(
        modules: impl IntoIterator<Item = (&'a Arc<str>, Vec<&'a [Endpoint]>)>,
    ) -> Result<Self, RouteTaken> {
        let mut table = Self::default();
        for (module, versions) in modules {
            let shared = versions.len() > 1;
            let mut endpoints: Vec<&Endpoint> = versions.into_iter().flatten().collect();
            if shared {
                // a catch-all of one version cannot stand beside a parameter of the other, but it covers it
                endpoints.sort_by_key(|endpoint| !endpoint.pattern.contains("{*"));
            }
            for endpoint in endpoints {
                table.insert(module, shared, endpoint)?;
            }
        }
        Ok(table)
    }

    fn insert(&mut self, module: &Arc<str>, shared: bool, endpoint: &Endpoint) -> Result<(), RouteTaken> {
        let pattern = &endpoint.pattern;
        let taken = |owner: &Arc<str>| RouteTaken {
            path: pattern.to_string(),
            method: endpoint.method.clone(),
            owner: Arc::clone(owner),
            claimant: Arc::clone(module),
        };
        let index = match self.paths.insert(&**pattern, self.places.len()) {
            Ok(()) => {
                self.places.push(Place { pattern: Arc::clone(pattern), holders: Vec::new() });
                self.places.len() - 1
            }
            // the same pattern again leads to its place; a pattern that overlaps another one has none
            Err(_) => match self.places.iter().position(|place| place.pattern == *pattern) {
                Some(index) => index,
                None => match self.overlapping(pattern) {
                    Some(index) if shared => index,
                    Some(index) => return Err(taken(self.places[index].holders.first().map_or(module, |h| &h.module))),
                    None => return Err(taken(module)),
                },
            },
        };
        let holders = &mut self.places[index].holders;
        for holder in holders.iter().filter(|holder| holder.module != *module) {
            // at one place modules may divide the methods, but the parameters have the names of one pattern
            if holder.endpoints.iter().any(|e| e.method == endpoint.method || e.pattern != *pattern) {
                return Err(taken(&holder.module));
            }
        }
        match holders.iter_mut().find(|holder| holder.module == *module) {
            Some(holder) => holder.endpoints.push(endpoint.clone()),
            None => holders.push(Holder { module: Arc::clone(module), shared, endpoints: vec![endpoint.clone()] }),
        }
        Ok(())
    }

    /// The first place that `pattern` cannot stand beside.
    fn overlapping(&self, pattern: &str) -> Option<usize> {
        self.places.iter().position(|place| {
            let mut pair = matchit::Router::new();
            pair.insert(&*place.pattern, ()).is_ok() && pair.insert(pattern, ()).is_err()
        })
    }

    /// Looks up a path. `HEAD` is answered by `GET` where there is no `HEAD` of its own.
    #[must_use]
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Found<'a> {
        let Ok(found) = self.paths.at(path) else { return Found::Nothing };
        let holders = &self.places[*found.value].holders;
        let by = |wanted: &Method| {
            holders.iter().find_map(|holder| holder.endpoints.iter().find(|e| e.method == *wanted).map(|e| (holder, e)))
        };
        match by(method).or_else(|| if *method == Method::HEAD { by(&Method::GET) } else { None }) {
            Some((holder, _)) if holder.shared => Found::Shared(&holder.module),
            Some((holder, endpoint)) => {
                let params = found.params.iter().map(|(name, value)| (name, value.to_owned())).collect();
                // the names borrow from the table, which lives as long as the answer
                Found::Endpoint(&holder.module, endpoint, params)
            }
            // a version may answer this method under another pattern
            None => match holders.iter().find(|holder| holder.shared) {
                Some(holder) => Found::Shared(&holder.module),
                None => Found::OtherMethods(self.methods(path)),
            },
        }
    }

    /// The methods of whatever holds the path, in no particular order.
    #[must_use]
    pub fn methods(&self, path: &str) -> Vec<Method> {
        let Ok(found) = self.paths.at(path) else { return Vec::new() };
        let endpoints = self.places[*found.value].holders.iter().flat_map(|holder| &holder.endpoints);
        endpoints.map(|endpoint| endpoint.method.clone()).collect()
    }

    /// Every endpoint with its module, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Endpoint)> {
        let holders = self.places.iter().flat_map(|place| &place.holders);
        holders.flat_map(|holder| holder.endpoints.iter().map(move |endpoint| (&holder.module, endpoint)))
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
        let versions: Vec<_> =
            claims.iter().map(|(module, method, path)| (*module, vec![vec![(method.clone(), *path)]])).collect();
        build_shared(&versions)
    }

    /// A module with what each of its versions serves.
    type Module<'a> = (&'a str, Vec<Vec<(Method, &'a str)>>);

    fn build_shared(modules: &[Module<'_>]) -> Result<Routes, String> {
        let modules: Vec<(Arc<str>, Vec<Vec<Endpoint>>)> = modules
            .iter()
            .map(|(module, versions)| {
                let of = |version: &Vec<(Method, &str)>| {
                    version.iter().map(|(method, path)| endpoint(method.clone(), path)).collect()
                };
                ((*module).into(), versions.iter().map(of).collect())
            })
            .collect();
        let claims = modules.iter().map(|(module, versions)| (module, versions.iter().map(Vec::as_slice).collect()));
        Routes::build(claims).map_err(|e| e.to_string())
    }

    fn owner(routes: &Routes, method: Method, path: &str) -> String {
        match routes.find(&method, path) {
            Found::Endpoint(module, _, params) => {
                let params: Vec<_> = params.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{module} {}", params.join(" ")).trim().to_owned()
            }
            Found::Shared(module) => format!("some {module}"),
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

    #[test]
    fn versions_of_one_module_may_overlap_and_every_path_of_either_leads_to_it() {
        let get = |path| (Method::GET, path);
        let baseline = vec![get("/x/{id}"), get("/x/{id}/parts"), get("/y/{*rest}"), get("/old")];
        let candidate = vec![get("/x/{*all}"), get("/y/{name}"), (Method::POST, "/y/{name}/z"), get("/new")];
        for versions in [vec![baseline.clone(), candidate.clone()], vec![candidate, baseline]] {
            let other = ("other", vec![vec![get("/x/own/{n}"), (Method::PUT, "/free")]]);
            let routes = build_shared(&[("m", versions), other]).expect("only one module overlaps with itself");
            for path in ["/x/1", "/x/1/parts", "/x/1/2/3", "/y/1", "/y/1/2", "/old", "/new"] {
                assert_eq!(owner(&routes, Method::GET, path), "some m", "{path}");
                assert_eq!(owner(&routes, Method::DELETE, path), "some m", "{path}");
            }
            assert_eq!(owner(&routes, Method::GET, "/x/own/5"), "other n=5");
            assert_eq!(owner(&routes, Method::GET, "/free"), "[PUT]");
            assert_eq!(owner(&routes, Method::GET, "/none"), "nothing");
        }
    }

    #[test]
    fn versions_share_a_pattern_with_other_modules_by_method_only() {
        let shared = |module, path| (module, vec![vec![(Method::GET, "/x/{id}")], vec![(Method::POST, path)]]);
        let alone = |module, method, path| (module, vec![vec![(method, path)]]);
        let routes =
            build_shared(&[shared("m", "/x/{id}"), alone("z", Method::PUT, "/x/{id}")]).expect("three methods");
        assert_eq!(owner(&routes, Method::PUT, "/x/1"), "z id=1");
        assert_eq!(owner(&routes, Method::POST, "/x/1"), "some m");
        let refused = [
            (alone("z", Method::POST, "/x/{id}"), "POST /x/{id} is taken: m serves it and z claims it"),
            (alone("z", Method::PUT, "/x/{name}"), "PUT /x/{name} is taken: m serves it and z claims it"),
            (alone("a", Method::PUT, "/x/{name}"), "GET /x/{id} is taken: a serves it and m claims it"),
            (alone("a", Method::POST, "/x/{id}"), "POST /x/{id} is taken: a serves it and m claims it"),
        ];
        for (other, expected) in refused {
            let mut modules = [shared("m", "/x/{id}"), other];
            modules.sort_by_key(|(module, _)| *module);
            assert_eq!(build_shared(&modules).err().as_deref(), Some(expected));
        }
        // the names of the parameters of one version are not those of the place: nobody else may stand there
        let covered = [
            (shared("m", "/x/{name}"), alone("z", Method::PUT, "/x/{name}")),
            (shared("m", "/x/{name}"), alone("z", Method::PUT, "/x/{id}")),
            (shared("m", "/x/{*all}"), alone("z", Method::PUT, "/x/{id}")),
            (shared("m", "/x/{*all}"), alone("z", Method::PUT, "/x/{*all}")),
        ];
        for (shared, other) in covered {
            let told = build_shared(&[shared, other]).err();
            assert!(
                told.as_deref().is_some_and(|told| told.ends_with("is taken: m serves it and z claims it")),
                "{told:?}"
            );
        }
    }
}
