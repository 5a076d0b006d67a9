-- Requests for wrk whose heads differ each time, as heads.py makes them for our own load client.
-- Arguments: path, how many of it, key, how many of it, bytes of the body. A path or key of many has a %d in it.
-- Says one line of JSON at the end, for wrk.py.

local random, format = math.random, string.format
local MOST = 4294967295
local users, path, paths, key, keys, ending = {}, "", 1, "", 1, ""

local FIXED = " HTTP/1.1\r\nhost: penstock.test\r\nuser-agent: penstock-bench/1\r\naccept: */*\r\n" ..
  "accept-encoding: identity\r\ncontent-type: application/json\r\ntracestate: bench=1\r\nauthorization: Bearer "

function init(arguments)
  path, paths = arguments[1], tonumber(arguments[2])
  key, keys = arguments[3], tonumber(arguments[4])
  local body = '{"data": "' .. string.rep("1", tonumber(arguments[5]) - 12) .. '"}'
  ending = "\r\ncontent-length: " .. #body .. "\r\n\r\n" .. body
  for number = 0, 996 do
    users[number] = "user-" .. string.rep("x", number % 29) .. number
  end
end

function request()
  local own_path = paths > 1 and format(path, random(0, paths - 1)) or path
  local own_key = keys > 1 and format(key, random(0, keys - 1)) or key
  local trace = format("\r\ntraceparent: 00-%08x%08x%08x%08x-%08x%08x-01\r\nx-user-id: ", random(1, MOST),
    random(0, MOST), random(0, MOST), random(0, MOST), random(1, MOST), random(0, MOST))
  return "POST " .. own_path .. FIXED .. own_key .. trace .. users[random(0, 996)] .. ending
end

function done(summary, latency)
  local errors = summary.errors
  io.write(format('\n{"requests": %d, "took_us": %d, "failed": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50), latency:percentile(99)))
end
