//! The published schemas hold for whatever is stored, and for nothing that is spoilt.

use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::random::{NOW, facts, terms};
use super::report::PurgeReport;
use super::{check, planner};
use crate::domain::dataset::DatasetName;
use crate::domain::decision::{DECISION_SCHEMA, Decision, Exception, Verdict};
use crate::domain::object::ObjectKey;
use crate::domain::plan::{ErasurePlan, PlanId};

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).expect("a schema is JSON");
    jsonschema::validator_for(&schema).expect("a schema is a schema")
}

fn plan_schema() -> Validator {
    validator(include_str!("../../schema/documents/plan.v1.json"))
}

/// What a document may lack: plans of former versions do not tell of it.
const OPTIONAL: [&str; 1] = ["estimate"];

/// Every way to spoil a document: a member more, a member less, a member of another type; at any depth.
fn spoils(document: &Value) -> Vec<Value> {
    let mut spoilt = Vec::new();
    let mut pointers = vec![String::new()];
    while let Some(pointer) = pointers.pop() {
        match document.pointer(&pointer) {
            Some(Value::Object(members)) => {
                let mut more = document.clone();
                if let Some(Value::Object(members)) = more.pointer_mut(&pointer) {
                    members.insert("surplus".to_owned(), json!(1));
                }
                spoilt.push(more);
                for name in members.keys() {
                    let mut less = document.clone();
                    if let Some(Value::Object(members)) = less.pointer_mut(&pointer) {
                        members.remove(name);
                    }
                    if !OPTIONAL.contains(&name.as_str()) {
                        spoilt.push(less);
                    }
                    pointers.push(format!("{pointer}/{name}"));
                }
            }
            Some(Value::Array(items)) if !items.is_empty() => pointers.push(format!("{pointer}/0")),
            _ => {
                let mut other = document.clone();
                if let Some(value) = other.pointer_mut(&pointer) {
                    *value = json!([[true]]);
                }
                spoilt.push(other);
            }
        }
    }
    spoilt
}

fn errors(validator: &Validator, document: &Value) -> Vec<String> {
    validator.iter_errors(document).map(|error| error.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn plans_and_reports_are_as_their_schemas_say(facts in facts()) {
        let plan = planner::plan(&facts, &terms());
        prop_assert!(check::is_sound(&check::check(&plan, &facts, &terms())));
        let report = PurgeReport::new(PlanId::of(&plan.to_bytes()), &plan);
        let report_schema = validator(include_str!("../../schema/documents/report.v1.json"));
        for (schema, bytes) in [(plan_schema(), plan.to_bytes()), (report_schema, report.to_json())] {
            let document: Value = serde_json::from_slice(&bytes).expect("JSON");
            prop_assert_eq!(errors(&schema, &document), Vec::<String>::new());
        }
    }

    #[test]
    fn a_spoilt_plan_is_refused_by_its_schema(facts in facts(), at in any::<prop::sample::Index>()) {
        let plan = planner::plan(&facts, &terms());
        let document = serde_json::to_value(&plan).expect("JSON");
        let spoilt = spoils(&document);
        let spoilt = at.get(&spoilt);
        prop_assert!(!plan_schema().is_valid(spoilt), "{spoilt:#}");
    }
}

#[test]
fn decisions_are_as_their_schema_says() {
    let schema = validator(include_str!("../../schema/documents/decision.v1.json"));
    let exception =
        Exception { dataset: DatasetName::new("reviews"), key: ObjectKey::new(*b"a\xff") };
    let verdicts = [
        Verdict::Approved { except: vec![exception] },
        Verdict::Rejected { reason: "not the person".to_owned() },
    ];
    for verdict in verdicts {
        let decision = Decision {
            schema: DECISION_SCHEMA.to_owned(),
            plan: PlanId::of(b"x"),
            verdict,
            by: "ann".to_owned(),
            decided_at: NOW,
            link: None,
        };
        let document = serde_json::to_value(&decision).expect("JSON");
        assert_eq!(errors(&schema, &document), Vec::<String>::new());
        for spoilt in spoils(&document) {
            assert!(!schema.is_valid(&spoilt), "{spoilt:#}");
        }
    }
}

/// A plan of the first version is read for ever.
#[test]
fn a_stored_plan_of_version_1_is_read() {
    let bytes = include_bytes!("../../schema/fixtures/v1/plan.json");
    let plan: ErasurePlan = serde_json::from_slice(bytes).expect("a plan");
    assert_eq!(plan.to_bytes(), bytes);
    let document: Value = serde_json::from_slice(bytes).expect("JSON");
    assert_eq!(errors(&plan_schema(), &document), Vec::<String>::new());
}
