// Jaeger's page: a trace links to its log lines, on the recorder's page.
function UIConfig() {
  // the lab's ports follow from one another (system/topology.toml): the recorder is 5 below Jaeger
  const recorder = Number(window.location.port) - 5;
  return {
    linkPatterns: [
      {
        type: "traces",
        // put together by +: Jaeger takes a dollar and braces for a placeholder of its own
        url: "http://" + window.location.hostname + ":" + recorder + "/logs?trace_id=#{traceID}",
        text: "Log lines of this trace",
      },
    ],
  };
}
