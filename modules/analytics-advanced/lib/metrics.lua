-- Counts over the module's own tables.

local usage = require("lib/usage")

local metrics = {}

local DAY = 86400000

metrics.DAYS = 14

-- Reports of each of the last 14 days (UTC), oldest first, days without any included: {day, count}.
function metrics.by_day()
	local today = math.floor(time.now() / DAY)
	local first = today - metrics.DAYS + 1
	local counts = {}
	local rows = db.query(
		"select created_at / 86400000 as day, count(*) as reports from reports where created_at >= ? group by 1",
		{ first * DAY }
	)
	for _, row in rows do
		counts[row.day] = row.reports
	end
	local days = {}
	for day = first, today do
		table.insert(days, { day = string.sub(time.format(day * DAY), 1, 10), count = counts[day] or 0 })
	end
	return days
end

-- The metrics with the most reports: {metric, count}.
function metrics.by_metric(limit: number)
	return db.query(
		"select metric, count(*) as count from reports group by metric order by count desc, metric limit ?",
		{ limit }
	)
end

-- Reports by period: {period, count}.
function metrics.by_period()
	return db.query("select period, count(*) as count from reports group by period order by count desc, period", {})
end

-- {reports, metrics, authors, reports_today, requests, requests_today}.
function metrics.totals()
	local midnight = math.floor(time.now() / DAY) * DAY
	return db.query(
		[[select
		    (select count(*) from reports) as reports,
		    (select count(distinct metric) from reports) as metrics,
		    (select count(distinct author) from reports) as authors,
		    (select count(*) from reports where created_at >= ?) as reports_today,
		    (select coalesce(sum(requests), 0) from request_counts) as requests,
		    (select coalesce(sum(requests), 0) from request_counts where day = ?) as requests_today]],
		{ midnight, usage.today() }
	)[1]
end

-- Requests by api over all days that are kept: {endpoint, count}.
function metrics.by_endpoint()
	return db.query(
		"select endpoint, sum(requests) as count from request_counts group by endpoint order by endpoint",
		{}
	)
end

-- The module's tables, as its dependency `database` sees them.
function metrics.tables()
	return services.call("database.tables")
end

return metrics
