//! `lacuna certificate PLAN`: reads the lake again, so that the certificate speaks of today.

use std::collections::BTreeMap;

use crate::cli::args::Certificate as Arguments;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::Answer;
use crate::domain::dataset::DatasetName;
use crate::domain::trail::{TrailAction, TrailTopic};
use crate::erase::certificate::{Certificate, Evidence, Grade};
use crate::erase::restraint::registered;
use crate::erase::verify::verify_plan;
use crate::wire::Rendering;

use super::{Context, verify, workshop};

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let config = context.config()?;
    let key = config.signing_key()?;
    let tools = workshop::erase_tools(context, &config).await?;
    let id = tools.ledger.find_plan(&arguments.plan).await?;
    let plan = tools.ledger.plan(&id).await?;
    let Some(decision) = tools.ledger.decisions(&id).await?.pop() else {
        let prefix = id.prefix();
        return Err(Failure::new(Exit::NotApproved, "nobody decided on the plan yet")
            .remedy(format!("approve it: lacuna approve {prefix} --by WHO")));
    };
    let options = verify::options(context, 0)?;
    let verification = verify_plan(&tools, &plan, &options).await?;
    let locations: BTreeMap<DatasetName, String> =
        config.datasets.iter().map(|it| (it.name.clone(), it.location.to_string())).collect();
    let request = registered(&tools.ledger, &plan.request).await?;
    let certificate = Certificate::of(&Evidence {
        id,
        plan: &plan,
        decision: &decision,
        notes: &tools.ledger.notes(&id).await?,
        verification: Some(&verification),
        request: request.as_ref(),
        locations: &locations,
        issued_at: context.clock.now(),
    });
    let text = certificate.to_text();
    let bytes = certificate.to_bytes();
    let place = tools.ledger.put_certificate(&id, bytes.clone()).await?;
    let rendering = Rendering::Text;
    tools.ledger.put_certificate_rendering(&id, place, rendering, text.clone()).await?;
    let page = certificate.to_html();
    tools.ledger.put_certificate_rendering(&id, place, Rendering::Html, page).await?;
    let paper = certificate.to_pdf();
    tools.ledger.put_certificate_rendering(&id, place, Rendering::Pdf, paper.clone()).await?;
    if let Some(key) = key {
        tools.ledger.sign_certificate(&id, place, &bytes, &key).await?;
    }
    tools.ledger.seal(&TrailTopic::Plan(id), TrailAction::Certified).await?;
    // Last: where it cannot be written, the evidence is whole all the same.
    if let Some(file) = &arguments.pdf {
        let path = context.environment.folder().join(file);
        std::fs::write(path, &paper).map_err(|error| {
            Failure::new(Exit::Failed, format!("{} cannot be written: {error}", file.display()))
        })?;
        context.terminal.say(&format!("wrote {}", file.display()));
    }
    let exit = match (verify::exit_of(&verification), certificate.grade) {
        (Exit::Done, Grade::Partial) => Exit::Incomplete,
        (exit, _) => exit,
    };
    Ok(Answer::new(text, &certificate)?.exit(exit))
}
