-- The page at /analytics/reports: every report, newest first, a page at a time, of one metric or all.

local html = require("lib/html")
local metrics = require("lib/metrics")
local report_table = require("lib/report_table")
local reports = require("lib/reports")

local reports_list = {}

local PAGE = 25

local function metric_filter(chosen: string?): string
	local options = { '<option value="">All metrics</option>' }
	local found = false
	for _, row in metrics.by_metric(100) do
		local selected = if row.metric == chosen then " selected" else ""
		found = found or row.metric == chosen
		table.insert(options, `<option value="{html.escape(row.metric)}"{selected}>{html.escape(row.metric)} ({html.number(row.count)})</option>`)
	end
	if chosen and not found then
		table.insert(options, `<option value="{html.escape(chosen)}" selected>{html.escape(chosen)}</option>`)
	end
	return `<form method="get" style="display:flex;gap:.5rem"><select name="metric" aria-label="Metric">{table.concat(options)}</select><button>Show</button></form>`
end

function reports_list.page(req)
	local chosen = req.query.metric
	if chosen == "" then
		chosen = nil
	end
	-- A page reads what it can of its query and ignores the rest; the api is the strict one.
	local given = req.query.after
	local after = if given and #given < 16 and string.find(given, "^%d+$") then tonumber(given) else nil
	local rows, more = reports.list(PAGE, after, chosen)
	local older = ""
	if more then
		local metric = if chosen then `&amp;metric={html.escape(html.query(chosen))}` else ""
		older = `<p><a href="?after={string.format("%.0f", rows[#rows].id)}{metric}">Older reports</a></p>`
	end
	local newest = if after then '<a href="?">Newest</a>' else ""
	return html.page(
		"Reports",
		`<div class="head"><h1>Reports</h1>{metric_filter(chosen)}</div>`
			.. `<section class="card">{report_table(rows)}</section><div class="head">{older}{newest}</div>`
	)
end

return reports_list
