//! Objects as the server has them, whole: read for the moment in which a plan is made, never kept and never shown.

use serde_json::Value;

use super::connect::{Connection, RequestError};
use super::items::{Item, Listed};
use super::lists::{is_json, list};
use super::place::Place;
use crate::error::Result;
use crate::kinds::Kind;

/// The object of that name; `None` when there is none. It is listed, so that no more than `list` has to be allowed.
///
/// # Errors
/// When it cannot be read.
pub async fn object(
    connection: &Connection,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<Value>> {
    let path = format!("{}?fieldSelector=metadata.name%3D{name}", kind.path(Some(namespace)));
    let doing = format!("read {} {name}", kind.name());
    let read = list::<Value>(connection, &path).await;
    let mut items = read.map_err(|error| connection.explain(&error, &doing))?.items;
    // A server that does not know the selector answers with all of them.
    items.retain(|item| item["metadata"]["name"] == name);
    Ok(items.pop())
}

/// The object at `path`, from the server and not from its cache; `None` when the server says that there is none.
///
/// # Errors
/// When it cannot be read, or the answer is another object.
pub async fn get(connection: &Connection, path: &str) -> Result<Option<Value>> {
    match read(connection, path).await {
        Ok(object) => Ok(Some(object)),
        Err(RequestError::NotFound { .. }) => Ok(None),
        Err(error) => {
            let mut parts = path.rsplit('/');
            let name = parts.next().unwrap_or_default();
            let doing = format!("read {} {name}", parts.next().unwrap_or_default());
            Err(connection.explain(&error, &doing))
        }
    }
}

async fn read(connection: &Connection, path: &str) -> std::result::Result<Value, RequestError> {
    let nonsense = |why: &str| RequestError::Nonsense(why.to_owned());
    let place = Place::of(path).filter(|place| place.name.is_some());
    let place = place.ok_or_else(|| nonsense("this is not the path of an object that is known here"))?;
    let mut reply = connection.get(path, "application/json").await?;
    is_json(&mut reply)?;
    let body = reply.bytes().await?;
    let Item { object, kind, api_version } =
        serde_json::from_slice::<Item<Value>>(&body).map_err(|error| RequestError::garbled(&error))?;
    if let Some(why) = place.asked.differs(kind.as_deref(), api_version.as_deref()) {
        return Err(RequestError::Nonsense(why));
    }
    let identity = object.identity();
    if let Some(why) = place.asked.refuses(identity) {
        return Err(nonsense(why));
    }
    if Some(identity.name) != place.name {
        return Err(nonsense("it has another name"));
    }
    Ok(object)
}

/// All objects of a kind that an owner of this uid controls.
///
/// # Errors
/// When they cannot be read.
pub async fn owned(connection: &Connection, namespace: &str, kind: Kind, owner: &str) -> Result<Vec<Value>> {
    let read = list::<Value>(connection, &kind.path(Some(namespace))).await;
    let mut items =
        read.map_err(|error| connection.explain(&error, &format!("list {}", kind.plural())))?.items;
    items.retain(|item| {
        let owners = item["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.iter().any(|it| it["controller"] == true && it["uid"] == owner))
    });
    Ok(items)
}

/// Who manages a part of an object besides us, by the names in its managedFields; `path` as in
/// `["f:spec", "f:template"]`.
pub fn managers(object: &Value, path: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let field = path.iter().try_fold(&entry["fieldsV1"], |field, key| field.get(key));
        if let (Some(_), Some(name)) = (field, entry["manager"].as_str())
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}
