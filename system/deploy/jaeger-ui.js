// Jaeger's page: a trace links to its log lines, on the recorder's page.
function UIConfig() {
  // by system/topology.toml, the recorder's port is 5 below Jaeger's (`lab render --check` compares it)
  const recorder = Number(window.location.port) - 5;
  return {
    linkPatterns: [
      {
        type: "traces",
        // concatenated: Jaeger treats a dollar sign with braces as its own placeholder
        url: "http://" + window.location.hostname + ":" + recorder + "/logs?trace_id=#{traceID}",
        text: "Log lines of this trace",
      },
    ],
  };
}
