// Sends the form of an operation to the API and shows the answer. A log-in fills in the tokens.
"use strict";
const token = document.getElementById("token");

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

function requestOf(form) {
  const headers = {}, query = new URLSearchParams();
  let path = form.dataset.path;
  for (const field of form.querySelectorAll("input")) {
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
    else if (field.value && field.dataset.in === "query") query.set(field.name, field.value);
    else if (field.value) headers[field.name] = field.value;
  }
  if ("user" in form.dataset && token.value) headers.Authorization = `Bearer ${token.value}`;
  const body = form.querySelector("textarea")?.value;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return [path + (query.size ? `?${query}` : ""), { method: form.dataset.method, headers, body }];
}

function keepTokens(answer) {
  if (answer.access_token) token.value = answer.access_token;
  const refresh = document.querySelector('form[data-path="/api/refresh"] textarea');
  if (answer.refresh_token && refresh) refresh.value = JSON.stringify({ refresh_token: answer.refresh_token });
}

async function send(event) {
  event.preventDefault();
  const form = event.target, output = form.querySelector("output");
  output.textContent = "waiting";
  try {
    const answer = await fetch(...requestOf(form));
    const content = await answer.json();
    output.textContent = `${answer.status}  trace ${answer.headers.get("X-Request-Id")}\n${JSON.stringify(content, null, 2)}`;
    if (answer.ok) keepTokens(content);
  } catch (error) {
    output.textContent = `no answer: ${error.message}`;
  }
}

for (const form of document.forms) form.addEventListener("submit", send);
for (const button of document.querySelectorAll("button[data-new-key]")) {
  const field = button.previousElementSibling;
  button.addEventListener("click", () => { field.value = newKey(); });
  field.value = newKey();
}
