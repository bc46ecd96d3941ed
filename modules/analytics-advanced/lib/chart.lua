-- Charts as inline SVG and plain elements: no script, and they follow the theme.

local html = require("lib/html")

local chart = {}

local WIDTH, HEIGHT = 640, 200
local LEFT, BOTTOM, TOP = 34, 24, 10

-- The least round number from 1, 2, 5, 10, 20, 50 … that is not below `value`, so that the axis reads well.
local function round_up(value: number): number
	local power = 1
	while true do
		for _, step in { 1, 2, 5 } do
			if step * power >= value then
				return step * power
			end
		end
		power *= 10
	end
end

-- Upright bars, one a day: {day, count}.
function chart.days(days): string
	local most = 1
	for _, entry in days do
		most = math.max(most, entry.count)
	end
	local ceiling = math.max(2, round_up(most))
	local plot = HEIGHT - TOP - BOTTOM
	local slot = (WIDTH - LEFT) / #days
	local parts = {}
	for _, share in { 0, 0.5, 1 } do
		local y = TOP + plot * (1 - share)
		table.insert(parts, string.format('<line class="line" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>', LEFT, y, WIDTH, y))
		table.insert(parts, string.format('<text x="%d" y="%.1f" text-anchor="end">%g</text>', LEFT - 6, y + 4, ceiling * share))
	end
	for index, entry in days do
		local x = LEFT + (index - 1) * slot
		local height = plot * entry.count / ceiling
		local label = html.escape(`{entry.day}: {string.format("%.0f", entry.count)}`)
		table.insert(parts, string.format(
			'<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"><title>%s</title></rect>',
			x + slot * 0.18, TOP + plot - height, slot * 0.64, height, label
		))
		-- Every second day has its label, the last one always.
		if (#days - index) % 2 == 0 then
			table.insert(parts, string.format(
				'<text x="%.1f" y="%d" text-anchor="middle">%s</text>',
				x + slot / 2, HEIGHT - 6, html.escape(string.sub(entry.day, 6))
			))
		end
	end
	return string.format(
		'<svg viewBox="0 0 %d %d" role="img" aria-label="Reports a day over %d days">%s</svg>',
		WIDTH, HEIGHT, #days, table.concat(parts)
	)
end

-- Lying bars, one a metric: {metric, count}, the longest first.
function chart.metrics(rows): string
	if #rows == 0 then
		return '<p class="empty">No reports yet.</p>'
	end
	local most = rows[1].count
	local parts = {}
	for _, row in rows do
		table.insert(parts, string.format(
			'<div class="meter"><span title="%s">%s</span><i style="width:%.1f%%"></i><b>%s</b></div>',
			html.escape(row.metric), html.escape(row.metric), math.max(1, 100 * row.count / most), html.number(row.count)
		))
	end
	return table.concat(parts)
end

return chart
