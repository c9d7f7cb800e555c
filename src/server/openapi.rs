//! The API's description (OpenAPI 3.1), made from the table of routes and the published schemas.

use serde_json::{Map, Value, json};

use super::guard::Needs;
use super::routes::{self, Described, Method, Route};

/// The schemas of documents that the ledger holds too.
const STORED: [(&str, &str); 3] = [
    ("report", include_str!("../../schema/documents/report.v1.json")),
    ("decision", include_str!("../../schema/documents/decision.v1.json")),
    ("certificate", include_str!("../../schema/documents/certificate.v1.json")),
];

/// Those that only the API knows.
const OWN: &str = include_str!("../../schema/documents/api.v1.json");

/// What stands between braces in a path: its name, what it is, and its pattern.
const PARAMETERS: [(&str, &str, &str); 2] = [
    ("plan", "A plan's id, or the first 8 or more characters of it.", "^[0-9a-fA-F]{8,64}$"),
    ("request", "The id of a request, as the list of requests has it.", "^[0-9a-f]{32}$"),
];

/// The description.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes::all() {
        let Some(described) = route.api else { continue };
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[method] = operation(&route, described);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lacuna",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Plans of erasures: what they change, decisions on them, their evidence.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, described: Described) -> Value {
    let of = |schema: &str| json!({ "$ref": format!("#/components/schemas/{schema}") });
    let content = |schema: &str| json!({ "application/json": { "schema": of(schema) } });
    let refused = |why: &str| json!({ "description": why, "content": content("refusal") });
    let mut answers = json!({
        "200": { "description": described.summary, "content": content(described.answer) },
        "429": refused("Too many requests in a minute: wait as Retry-After says."),
        "421": refused("The host is not this server's."),
        "500": refused("A store failed, or a document is not what was stored."),
        "502": refused("The ledger's store refuses this server."),
    });
    let mut operation = json!({
        "operationId": described.name,
        "summary": described.summary,
        "description": takes(route.needs),
        "security": [],
    });
    if route.needs != Needs::Nothing {
        operation["security"] = json!([{ "token": [] }]);
        answers["401"] = refused("The caller is not known.");
        answers["403"] = refused("The caller may not do this.");
    }
    for (name, description, pattern) in PARAMETERS {
        if route.path.contains(&format!("{{{name}}}")) {
            operation["parameters"] = json!([{
                "name": name,
                "in": "path",
                "required": true,
                "description": description,
                "schema": { "type": "string", "pattern": pattern },
            }]);
            answers["404"] = refused("There is no such thing, or it has no such document.");
        }
    }
    if let Some(request) = described.request {
        operation["requestBody"] = json!({ "required": true, "content": content(request) });
        answers["409"] =
            refused("It may not be done in this state of things: the message says why.");
        answers["408"] = refused("The request did not come to its end in time.");
        answers["413"] = refused("The request is too large.");
        answers["422"] = refused("The request's document cannot be used.");
    }
    operation["responses"] = answers;
    operation
}

fn takes(needs: Needs) -> String {
    match needs {
        Needs::Nothing => "For everybody.".to_owned(),
        Needs::SignedIn => "For everybody who is known.".to_owned(),
        Needs::Right(right) => format!("For {}.", right.holders()),
    }
}

fn schemas() -> Value {
    let mut schemas = Map::new();
    for (name, text) in STORED {
        schemas.insert(name.to_owned(), placed(name, text));
    }
    if let Value::Object(own) = serde_json::from_str(OWN).unwrap_or_default()
        && let Some(Value::Object(definitions)) = own.get("$defs")
    {
        for (name, schema) in definitions {
            let mut schema = schema.clone();
            redirect(&mut schema, "#/$defs/", "#/components/schemas/");
            schemas.insert(name.clone(), schema);
        }
    }
    Value::Object(schemas)
}

/// A published schema in its place within the description: what refers to its own definitions does so
/// from there.
fn placed(name: &str, text: &str) -> Value {
    let mut schema: Value = serde_json::from_str(text).unwrap_or_default();
    redirect(&mut schema, "#/$defs/", &format!("#/components/schemas/{name}/$defs/"));
    schema
}

fn redirect(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "$ref" => *text = text.replace(from, to),
                    other => redirect(other, from, to),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, from, to)),
        _ => {}
    }
}
