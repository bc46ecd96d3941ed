-- What may be run: one statement that reads or changes rows. This is the polite gate, with errors that say what to do;
-- the runtime's own authorizer stands behind it and refuses the same things whatever the text looks like.

local statement = {}

statement.MAX_BYTES = 64 * 1024

-- First words that are allowed. Whether a `with` reads or writes is for the runtime to see.
local ALLOWED = {
	select = true,
	values = true,
	with = true,
	insert = true,
	replace = true,
	update = true,
	delete = true,
	explain = true,
}

-- First words that get an answer of their own.
local SCHEMA = "tables are changed by migrations, not at run time: add a file under migrations/ and name it in the manifest"
local TRANSACTION = "each call is one statement and its own transaction: use db.transaction in the module that owns the tables"
local CONNECTION = "it would reach beyond the caller's tables"
local REFUSED = {
	create = SCHEMA,
	alter = SCHEMA,
	drop = SCHEMA,
	reindex = SCHEMA,
	analyze = SCHEMA,
	begin = TRANSACTION,
	commit = TRANSACTION,
	["end"] = TRANSACTION,
	rollback = TRANSACTION,
	savepoint = TRANSACTION,
	release = TRANSACTION,
	pragma = CONNECTION,
	attach = CONNECTION,
	detach = CONNECTION,
	vacuum = CONNECTION,
}

-- Where the quoted part that opens at `from` ends; nil when it never does. A doubled quote stands for itself inside.
local function past_quote(sql: string, from: number, quote: string): number?
	local at = from + 1
	while true do
		local close = string.find(sql, quote, at, true)
		if not close then
			return nil
		end
		if string.sub(sql, close + 1, close + 1) ~= quote then
			return close + 1
		end
		at = close + 2
	end
end

-- Blanks out comments and everything quoted, so that what is left can be searched for words and semicolons.
-- Answers nil and the reason when something is opened and never closed.
local function skeleton(sql: string): (string?, string?)
	local kept = {}
	local at = 1
	while at <= #sql do
		local start = string.find(sql, "[-/'\"`%[]", at)
		if not start then
			break
		end
		table.insert(kept, string.sub(sql, at, start - 1))
		local sign = string.sub(sql, start, start)
		local pair = string.sub(sql, start, start + 1)
		if pair == "--" then
			at = string.find(sql, "\n", start, true) or #sql + 1
		elseif pair == "/*" then
			local close = string.find(sql, "*/", start + 2, true)
			if not close then
				return nil, "a comment is never closed"
			end
			at = close + 2
		elseif sign == "-" or sign == "/" then
			table.insert(kept, sign)
			at = start + 1
			continue
		elseif sign == "[" then
			local close = string.find(sql, "]", start + 1, true)
			if not close then
				return nil, "a name in brackets is never closed"
			end
			table.insert(kept, "_")
			at = close + 1
		else
			local after = past_quote(sql, start, sign)
			if not after then
				return nil, `a part quoted with {sign} is never closed`
			end
			table.insert(kept, "_")
			at = after
		end
		table.insert(kept, " ")
	end
	table.insert(kept, string.sub(sql, at))
	return table.concat(kept), nil
end

-- Nil when `sql` may run, otherwise why it may not.
function statement.fault(sql: string): string?
	if #sql > statement.MAX_BYTES then
		return `the statement has {#sql} bytes; at most {statement.MAX_BYTES} are allowed`
	end
	if string.find(sql, "\0", 1, true) then
		return "the statement holds a NUL character"
	end
	local text, reason = skeleton(sql)
	if not text then
		return reason
	end
	local word = string.match(text, "^%s*([^%s;]+)")
	if not word then
		return "there is no statement"
	end
	word = string.match(word, "^%a+") or string.sub(word, 1, 16)
	local semicolon = string.find(text, ";", 1, true)
	if semicolon and string.find(text, "[^%s;]", semicolon) then
		return "there are several statements; send one at a time"
	end
	local first = string.lower(word)
	if ALLOWED[first] then
		return nil
	end
	local why = REFUSED[first]
	if why then
		return `{string.upper(first)} is not allowed here: {why}`
	end
	return `a statement cannot begin with {word}; use SELECT, INSERT, UPDATE, DELETE, REPLACE, WITH, VALUES or EXPLAIN`
end

return statement
