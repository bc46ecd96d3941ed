//! Which of several modules that offer a capability is called: the chosen one, as long as it serves. A choice is kept, and whoever calls
//! the capability is bound anew by the same store of the routes by which a version takes over.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::rpc::CallResult;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::coordinator::{Coordinator, Message};
use super::record::Choice;
use super::{Engine, EngineError};
use crate::actors::gate::Pass;
use crate::actors::router::Choices;
use crate::monitor::Event;
use crate::registry::capabilities::Provider;
use crate::store::audit::{By, Kind};

/// Who offers a capability and who needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CapabilityView {
    /// Its id.
    pub id: String,
    /// The module that is chosen for it.
    pub chosen: Option<String>,
    /// The module that is called: the chosen one, or else the first that serves.
    pub called: Option<String>,
    /// The modules that offer it, by id.
    pub providers: Vec<ProviderView>,
    /// The running modules that require it, by id.
    pub consumers: Vec<ConsumerView>,
}

/// A module that offers a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderView {
    /// The module.
    pub module: String,
    /// Its version: the one that serves, or else the newest that offers it.
    pub version: String,
    /// The version of the capability.
    pub offers: String,
    /// The capabilities that it needs for that.
    #[serde(default)]
    pub requirements: Vec<RequirementView>,
    /// The interfaces that it promises.
    #[serde(default)]
    pub interfaces: Vec<InterfaceView>,
    /// Whether it serves.
    pub serves: bool,
}

/// A capability that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequirementView {
    /// Its id.
    pub capability: String,
    /// The versions of it that would do.
    pub range: String,
    /// Whether the module cannot run without it.
    pub required: bool,
}

/// Methods of a capability that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceView {
    /// The interface's name.
    pub name: String,
    /// Its methods, each called as `capability.method`.
    pub methods: Vec<String>,
}

/// A running module that requires a capability.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerView {
    /// The module.
    pub module: String,
    /// The versions of the capability that would do.
    pub range: String,
    /// The module that its calls reach; none serves in that range.
    pub bound: Option<String>,
}

impl ProviderView {
    fn of(provider: &Provider, serves: bool) -> Self {
        let requirements = provider.requirements.iter().map(|need| RequirementView {
            capability: need.capability.clone(),
            range: need.version.to_string(),
            required: need.required,
        });
        let interfaces = provider.interfaces.iter();
        let interfaces =
            interfaces.map(|it| InterfaceView { name: it.name.clone(), methods: it.methods.clone() }).collect();
        Self {
            module: provider.module.clone(),
            version: provider.version.to_string(),
            offers: provider.capability_version.to_string(),
            requirements: requirements.collect(),
            interfaces,
            serves,
        }
    }
}

impl CapabilityView {
    /// Nobody offers or needs it.
    fn of_nobody(id: &str) -> Self {
        let id = id.to_owned();
        Self { id, chosen: None, called: None, providers: Vec::new(), consumers: Vec::new() }
    }
}

impl Engine {
    /// Who offers which capability, and who needs it, by capability.
    #[must_use]
    pub fn capabilities(&self) -> Vec<CapabilityView> {
        let (snapshot, routes) = (self.shared.registry.snapshot(), self.shared.router.snapshot());
        let running = self.shared.board.placed().running;
        let mut views: BTreeMap<String, CapabilityView> = BTreeMap::new();
        let view = |id: &str| CapabilityView {
            chosen: routes.choices().get(id).map(|module| module.to_string()),
            called: routes.providers(id).first().map(|module| module.to_string()),
            ..CapabilityView::of_nobody(id)
        };
        for (capability, providers) in snapshot.offered() {
            let mut newest: BTreeMap<&str, ProviderView> = BTreeMap::new();
            for provider in providers {
                let serves = running.get(&provider.module) == Some(&provider.version);
                let known = newest.get(provider.module.as_str());
                // ascending, so that a later one is newer
                if known.is_none_or(|known| serves || !known.serves) {
                    newest.insert(&provider.module, ProviderView::of(provider, serves));
                }
            }
            let shown = views.entry(capability.to_owned()).or_insert_with(|| view(capability));
            shown.providers = newest.into_values().collect();
        }
        for (id, version) in &running {
            let Some(definition) = snapshot.get(id, version) else { continue };
            for need in definition.manifest.capabilities.iter().flat_map(|own| &own.requirements) {
                let providers = routes.providers(&need.capability).iter();
                let bound = providers.filter(|module| ***module != **id);
                let mut bound = bound.filter(|module| routes.offers(module, &need.capability, &need.version));
                let (module, range) = (id.clone(), need.version.to_string());
                let bound = bound.next().map(|module| module.to_string());
                let shown = views.entry(need.capability.clone()).or_insert_with(|| view(&need.capability));
                shown.consumers.push(ConsumerView { module, range, bound });
            }
        }
        // one that is chosen for what nobody offers any more can be seen and taken back
        for id in routes.choices().keys() {
            views.entry(id.clone()).or_insert_with(|| view(id));
        }
        views.into_values().collect()
    }

    /// Chooses which module is called for a capability; `None`: whichever serves, the first by id. Calls that run end where they
    /// are, and the next ones go to the chosen module as soon as this returns, if it serves in the range that the caller requires.
    ///
    /// # Errors
    /// No registered version of the module offers the capability, or the choice cannot be written.
    pub async fn choose(&self, capability: &str, module: Option<&str>) -> Result<CapabilityView, EngineError> {
        let Some(_running) = Pass::enter(Arc::clone(&self.commands)) else { return Err(EngineError::Stopped) };
        let (id, chosen, by) = (capability.to_owned(), module.map(str::to_owned), self.by.clone());
        let made = match self.coordinator.call(|reply| Message::Choose(id, chosen, by, reply), None).await {
            Ok(CallResult::Success(answer)) => answer,
            _ => Err(EngineError::Stopped),
        };
        if let Err(error) = &made {
            self.shared.refused(Kind::CommandRefused, &self.by, capability.to_owned(), ("choose", error)).await;
        }
        made?;
        let view = self.capabilities().into_iter().find(|view| view.id == capability);
        // nobody offers it or needs it, and none is chosen any more
        Ok(view.unwrap_or_else(|| CapabilityView::of_nobody(capability)))
    }
}

impl Coordinator {
    pub(super) async fn choose(&self, capability: String, module: Option<String>, by: &By) -> Result<(), EngineError> {
        let shared = &self.shared;
        let registered = shared.registry.snapshot();
        let providers = registered.providers(&capability);
        let mut choices = shared.router.load().choices().clone();
        let is_offered = module.as_ref().is_none_or(|id| providers.iter().any(|provider| provider.module == *id));
        if !is_offered || (providers.is_empty() && !choices.contains_key(&capability)) {
            let mut providers: Vec<String> = providers.iter().map(|provider| provider.module.clone()).collect();
            providers.dedup();
            return Err(EngineError::NotOffered { capability, module, providers });
        }
        let before = choices.get(&capability).map(|module| module.to_string());
        if before == module {
            return Ok(());
        }
        match &module {
            Some(module) => choices.insert(capability.clone(), module.as_str().into()),
            None => choices.remove(&capability),
        };
        let routes = shared.router.choosing(choices).map_err(|taken| EngineError::Internal(taken.to_string()))?;
        shared.audit(Kind::ProviderChosen, by.clone(), capability.clone(), json!({ "provider": module })).await?;
        let choice = module.clone().map(|module| Choice { module });
        shared.records.choose(&capability, choice).await?;
        shared.router.store(routes);
        shared.events.emit(Event::ProviderChosen { capability, module, before });
        Ok(())
    }
}

/// The choices that were kept.
pub(super) fn kept(choices: Vec<(String, Choice)>) -> Choices {
    choices.into_iter().map(|(capability, choice)| (capability, choice.module.as_str().into())).collect()
}
