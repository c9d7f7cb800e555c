// Renews how far an erasure is, and the page itself once the erasure has come to its end.
"use strict";

const bar = document.getElementById("progress");
const ended = document.getElementById("ended");

async function look() {
  const answer = await fetch(bar.dataset.source, { headers: { accept: "application/json" } });
  if (!answer.ok) return;
  const now = await answer.json();
  if (now.state !== "begun") {
    location.reload();
    return;
  }
  bar.value = now.ended;
  ended.textContent = now.ended.toLocaleString("en");
}

// What fails now may be answered the next time; the page says how far it was.
setInterval(() => look().catch(() => {}), 2000);
