//! Any bytes as documents of a ledger: a plan, a decision, a note of the journal, an audit record, a
//! leftover. What is read is written again as it was; a plan becomes a report that is inert.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use lacuna::clock::Clock;
use lacuna::domain::object::ObjectKey;
use lacuna::domain::plan::{ErasurePlan, PlanId};
use lacuna::erase::report::{PurgeReport, html, text};
use lacuna::lake::memory::MemoryLake;
use lacuna::ledger::Ledger;
use lacuna_fuzz::panics;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(read(bytes));
});

async fn read(bytes: &[u8]) {
    let lake = Arc::new(MemoryLake::unversioned());
    let ledger = Ledger::new(
        lake.clone(),
        *b"",
        Clock::manual("2026-11-21T00:00:00Z".parse().expect("a moment")),
    );
    let id = PlanId::of(bytes);
    let names = [
        format!("plans/{id}.json"),
        format!("decisions/{id}/000000.json"),
        format!("journal/{id}/000000-000000.json"),
        format!("audit/{id}/000000-000000.json"),
        "leftovers/00000000000000000000000000000000.json".to_owned(),
        format!("finished/{id}.json"),
    ];
    for name in &names {
        lake.put(&ObjectKey::from(name.as_str()), Bytes::copy_from_slice(bytes));
    }
    let _ = ledger.plans().await.expect("a damaged plan is an entry, no error");
    let _ = ledger.decisions(&id).await;
    let _ = ledger.notes(&id).await;
    let _ = ledger.audit(&id).await;
    let _ = ledger.leftovers().await;
    let _ = ledger.finished_at(&id).await;
    let _ = ledger.find_plan(&id.prefix()).await;
    if let Ok(plan) = ledger.plan(&id).await {
        show(&plan);
    }
}

fn show(plan: &ErasurePlan) {
    let written = plan.to_bytes();
    let again: ErasurePlan = serde_json::from_slice(&written).expect("what is written can be read");
    assert_eq!(&again, plan);
    let report = PurgeReport::new(PlanId::of(&written), plan);
    let page = html(&report);
    assert!(!page.to_ascii_lowercase().contains("<script"), "foreign text is inert on a page");
    let shown = text(&report);
    let is_inert = |char: char| char == '\n' || !char.is_control();
    assert!(shown.chars().all(is_inert), "foreign text is inert on a terminal");
    let _ = report.to_json();
}
