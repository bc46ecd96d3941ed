-- Reports: what one must look like, and the table they live in.

local problem = require("lib/problem")

local reports = {}

local COLUMNS = "id, name, metric, period, description, author, created_at"
local MAX_BODY = 32 * 1024

reports.PERIODS = { "hour", "day", "week", "month", "quarter", "year" }
reports.NAME_CHARACTERS = 120
reports.METRIC_CHARACTERS = 64
reports.DESCRIPTION_CHARACTERS = 2000

-- The text of a field between `least` and `most` characters, without spaces around it and control characters in it.
local function text(value: any, name: string, least: number, most: number, lines: boolean?): string
	if value == nil then
		problem.field(name, "is missing")
	end
	if type(value) ~= "string" then
		problem.field(name, `must be a string, found a {if type(value) == "table" then "list or an object" else type(value)}`)
	end
	local trimmed = string.match(value, "^%s*(.-)%s*$") :: string
	local count = utf8.len(trimmed)
	if not count then
		problem.field(name, "must be UTF-8 text")
	end
	if count < least then
		problem.field(name, "must not be empty")
	end
	if count > most then
		problem.field(name, `has {count} characters; at most {most} are allowed`)
	end
	if string.find(trimmed, if lines then "[%z\1-\9\11\12\14-\31\127]" else "%c") then
		problem.field(name, "must not hold control characters")
	end
	return trimmed
end

local FIELDS = { name = true, metric = true, period = true, description = true }

-- The report that a request's body describes, checked; ends the request otherwise.
function reports.read(req)
	if not string.find(string.lower(req.headers["content-type"] or ""), "^application/json%s*;?") then
		problem.throw(415, "Unsupported media type", "send application/json, and say so in content-type")
	end
	if #req.body > MAX_BODY then
		problem.throw(413, "Body too large", `the body has {#req.body} bytes; at most {MAX_BODY} are read`)
	end
	local ok, given = pcall(json.decode, req.body)
	if not ok then
		problem.throw(400, "Bad request", `the body is not JSON: {tostring(given)}`)
	end
	if type(given) ~= "table" or #given > 0 then
		problem.throw(400, "Bad request", "the body must be a JSON object")
	end
	for name in given do
		if not FIELDS[name] then
			problem.field(string.sub(tostring(name), 1, 64), "is not a field of a report: send name, metric, period, description")
		end
	end

	local report = {
		name = text(given.name, "name", 1, reports.NAME_CHARACTERS),
		metric = text(given.metric, "metric", 1, reports.METRIC_CHARACTERS),
		period = if given.period == nil then "day" else text(given.period, "period", 1, 16),
		description = if given.description == nil
			then ""
			else text(given.description, "description", 0, reports.DESCRIPTION_CHARACTERS, true),
	}
	if not string.find(report.metric, "^[a-z][a-z0-9_.-]*$") then
		problem.field("metric", "must begin with a-z and go on with a-z, 0-9, dot, dash or underscore")
	end
	if not table.find(reports.PERIODS, report.period) then
		problem.field("period", `must be one of {table.concat(reports.PERIODS, ", ")}`)
	end
	return report
end

-- Stores a report and answers its row.
function reports.create(report, author: string)
	local now = time.now()
	local result = db.execute(
		"insert into reports (name, metric, period, description, author, created_at) values (?, ?, ?, ?, ?, ?)",
		{ report.name, report.metric, report.period, report.description, author, now }
	)
	return reports.find(result.last_insert_id)
end

-- One row, or nil.
function reports.find(id: number)
	return db.query(`select {COLUMNS} from reports where id = ?`, { id })[1]
end

-- Rows newest first, at most `limit`: those before the id `after` if given, of one metric if given. The second result
-- says whether there are more.
function reports.list(limit: number, after: number?, metric: string?)
	local where, params = {}, {}
	if after then
		table.insert(where, "id < ?")
		table.insert(params, after)
	end
	if metric then
		table.insert(where, "metric = ?")
		table.insert(params, metric)
	end
	local condition = if #where > 0 then "where " .. table.concat(where, " and ") else ""
	table.insert(params, limit + 1)
	local rows = db.query(`select {COLUMNS} from reports {condition} order by id desc limit ?`, params)
	local more = #rows > limit
	if more then
		table.remove(rows)
	end
	return rows, more
end

return reports
