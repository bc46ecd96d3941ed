//! What tests play the layers above with.

use std::sync::Arc;

use async_trait::async_trait;
use replug_scripts::api::Request;
use replug_scripts::{CallContext, HostError, Value};

use super::{Application, Reach, Residence, Residents, Services, Suppliers, Timer};
use crate::manifest::ActorSpec;
use crate::sandbox::permissions::Live;
use crate::sandbox::quota::Account;

/// It answers whatever is asked with nothing.
pub(crate) struct NoServices;

#[async_trait]
impl Services for NoServices {
    async fn call(&self, _: &Suppliers, _: &str, _: &str, _: Value, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }

    async fn ask(&self, _: &str, _: &str, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }

    fn invalidate(&self, _: &str) {}
}

#[async_trait]
impl Application for NoServices {
    fn setting(&self, _: &str, _: &str) -> Result<Value, HostError> {
        Ok(Value::Null)
    }

    async fn request(&self, _: Request, _: Reach, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }

    async fn render(&self, _: &str, _: Request, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }
}

impl Residents for NoServices {
    fn open(&self, _: &Arc<Live>, _: Arc<Account>) -> Arc<dyn Residence> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Residence for NoServices {
    fn send(&self, _: &ActorSpec, _: Value, _: &CallContext) -> Result<(), HostError> {
        Ok(())
    }

    async fn call(&self, _: &ActorSpec, _: Value, _: &CallContext) -> Result<Value, HostError> {
        Ok(Value::Null)
    }

    fn publish(&self, _: &str, _: Value, _: &CallContext) {}

    fn set_timer(&self, _: Timer, _: &CallContext) -> Result<String, HostError> {
        Ok("t".to_owned())
    }

    fn cancel_timer(&self, _: &str, _: &CallContext) -> bool {
        false
    }
}
