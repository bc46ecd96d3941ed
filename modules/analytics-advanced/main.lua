-- The module `analytics-advanced`: reports that people ask for, and counts over them. The manifest names the routes,
-- the apis and who may use them; this file says what answers each.

local dashboard = require("lib/dashboard")
local metrics = require("lib/metrics")
local problem = require("lib/problem")
local reports = require("lib/reports")
local reports_list = require("lib/reports_list")
local usage = require("lib/usage")

local DEFAULT_LIMIT = 50
local MAX_LIMIT = 200

-- A whole number from the query between `least` and `most`; `default` when it is not there.
local function whole(req, name: string, least: number, most: number, default: number?): number?
	local given = req.query[name]
	if given == nil then
		return default
	end
	local number = if string.find(given, "^%d+$") and #given < 16 then tonumber(given) else nil
	if not number or number < least or number > most then
		problem.field(name, `must be a whole number from {string.format("%.0f", least)} to {string.format("%.0f", most)}`)
	end
	return number
end

local MAX_ID = 999999999999999

-- JSON that no cache keeps.
local function answer(body)
	return { headers = { ["cache-control"] = "no-store" }, body = body }
end

-- GET /api/analytics/reports?limit=50&after=ID&metric=NAME, newest first; or ?id=ID for one.
local function list_reports(req)
	local id = whole(req, "id", 1, MAX_ID)
	if id then
		local report = reports.find(id)
		if not report then
			problem.throw(404, "No such report", `there is no report {string.format("%.0f", id)}`)
		end
		return answer({ items = { report } })
	end
	local limit = whole(req, "limit", 1, MAX_LIMIT, DEFAULT_LIMIT) :: number
	local rows, more = reports.list(limit, whole(req, "after", 1, MAX_ID), req.query.metric)
	return answer({ items = rows, next = if more then rows[#rows].id else nil })
end

-- POST /api/analytics/reports {name, metric, period?, description?}.
local function create_report(req)
	if not req.principal then
		problem.throw(401, "Not signed in", "a report needs an author")
	end
	local report = reports.create(reports.read(req), req.principal.subject)
	log.info("a report was stored", { report = report.id, metric = report.metric, author = report.author })
	return {
		status = 201,
		headers = { location = `/api/analytics/reports?id={string.format("%.0f", report.id)}`, ["cache-control"] = "no-store" },
		body = report,
	}
end

-- GET /api/analytics/metrics.
local function show_metrics()
	return answer({
		generated_at = time.format(time.now()),
		refresh_interval = config.get("refreshInterval"),
		totals = metrics.totals(),
		reports_by_day = metrics.by_day(),
		reports_by_metric = metrics.by_metric(50),
		reports_by_period = metrics.by_period(),
		requests_by_endpoint = metrics.by_endpoint(),
		tables = metrics.tables(),
	})
end

return {
	-- The checks that the manifest names: this one for /health, and the runtime's own look at the tables.
	health = function()
		db.query("select id from reports order by id desc limit 1", {})
		return { status = "healthy" }
	end,

	warmup = function()
		usage.prune()
		metrics.totals()
	end,

	apis = {
		["GET /api/analytics/reports"] = usage.counted("GET reports", list_reports),
		["POST /api/analytics/reports"] = usage.counted("POST reports", create_report),
		["GET /api/analytics/metrics"] = usage.counted("GET metrics", show_metrics),
	},

	pages = {
		AnalyticsDashboard = dashboard.page,
		ReportsList = reports_list.page,
	},
}
