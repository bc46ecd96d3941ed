-- Reports as a table, for both pages.

local html = require("lib/html")

local function report_table(rows): string
	if #rows == 0 then
		return '<p class="empty">No reports yet.</p>'
	end
	local parts = {
		"<table><thead><tr><th>Report</th><th>Metric</th><th>Period</th><th>By</th><th>Stored (UTC)</th></tr></thead><tbody>",
	}
	for _, row in rows do
		local about = if row.description ~= "" then `<div class="muted">{html.escape(row.description)}</div>` else ""
		table.insert(parts, `<tr><td><strong>{html.escape(row.name)}</strong>{about}</td>`)
		table.insert(parts, `<td><span class="tag">{html.escape(row.metric)}</span></td><td>{html.escape(row.period)}</td>`)
		table.insert(parts, `<td>{html.escape(row.author)}</td><td class="muted">{html.moment(row.created_at)}</td></tr>`)
	end
	table.insert(parts, "</tbody></table>")
	return table.concat(parts)
end

return report_table
