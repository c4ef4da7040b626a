-- Tells what wrk has seen as one line of JSON; times are microseconds.
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"duration":%d,"failed":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
