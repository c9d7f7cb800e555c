//! The pages in a real browser, as an approver uses them.

use std::ffi::OsStr;

use serde_json::Value;

use super::serving::{PASSWORD, Served, with_users};
use super::{lake, run};
use crate::support::python;

/// An approver signs in, finds the plan, sorts and filters, looks at rows, leaves an object out, approves; it
/// is carried out, which the page follows, and the certificate opens; the register shows the request, and takes what happens to it. No page keeps anybody
/// out (WCAG 2.2 AA, as far as axe can tell), in light and dark, nor is too wide for 320 pixels.
#[test]
fn a_plan_is_reviewed_in_a_browser() {
    let folder = lake();
    let path = folder.path();
    // So many that the run is seen under way.
    for number in 0..80 {
        let line = format!("{{\"user_id\":\"u1\",\"text\":\"{number}\"}}\n");
        std::fs::write(path.join(format!("reviews/2026/x{number}.json")), line).expect("written");
    }
    with_users(path);
    let plan = run(path, &["plan", "--subject", "user=u1", "--request", "T-1", "--json"]).json();
    let id = plan["plan_id"].as_str().expect("an id");
    let add = "request add T-1 --received 2026-11-20 --jurisdiction other --days 3000 --by ann";
    assert_eq!(run(path, &add.split(' ').collect::<Vec<_>>()).code, 0);
    let served = Served::start(path);
    let url = format!("http://{}", served.address);
    let pictures = pictures();
    let mut arguments = [url.as_str(), "T-1", "ann", PASSWORD].map(OsStr::new).to_vec();
    arguments.extend([OsStr::new(env!("CARGO_BIN_EXE_lacuna")), path.as_os_str()]);
    arguments.extend(pictures.as_deref());
    let told = python::run("review.py", &arguments);
    let pages: Vec<Value> =
        told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(pages.len(), 9 * 4, "{told}");
    for page in pages {
        assert_eq!(page["violations"], Value::Array(Vec::new()), "{page}");
        assert_eq!(page["is_too_wide"], Value::Bool(false), "{page}");
    }
    let shown = run(path, &["show", id]).stdout;
    assert!(shown.contains("pproved by ann"), "{shown}");
}

/// Where pictures of the pages are wanted, if anywhere: `scripts/screenshots` says so.
#[expect(clippy::disallowed_methods, reason = "the tests' own configuration")]
fn pictures() -> Option<std::ffi::OsString> {
    std::env::var_os("LACUNA_SCREENSHOTS")
}
