-- wrk: goes through all routes of all hosts, far apart from one request to the next. Arguments: hosts, routes per host.
local requests = {}
local at = 0
local STRIDE = 7919 -- prime, so that every route has its turn

function init(args)
  local hosts, per_host = tonumber(args[1]), tonumber(args[2])
  for host = 0, hosts - 1 do
    for route = 0, per_host - 1 do
      requests[#requests + 1] = wrk.format("GET", "/r" .. route .. "/item", { Host = "h" .. host .. ".bench.local" })
    end
  end
end

function request()
  at = (at + STRIDE) % #requests
  return requests[at + 1]
end
