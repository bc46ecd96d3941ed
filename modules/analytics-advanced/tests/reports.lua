-- Reports over HTTP, from whoever may make and see them.

local ann = { subject = "ann", permissions = { "analytics.*" } }

local function create(body)
	return test.request({ method = "POST", path = "/api/analytics/reports", body = body, principal = ann })
end

local function list(query)
	return test.request({ path = "/api/analytics/reports", query = query, principal = ann })
end

return {
	["a report is stored with its author and the moment"] = function()
		test.clock.set(1700000000000)
		local made = create({ name = " Visits ", metric = "visits", period = "week" })
		assert.equal(made.status, 201)
		assert.equal(made.json.name, "Visits")
		assert.equal(made.json.author, "ann")
		assert.equal(made.json.created_at, 1700000000000)
		assert.equal(list({ id = made.json.id }).json.items[1].metric, "visits")
	end,

	["the newest come first, a page at a time"] = function()
		for _, name in { "a", "b", "c" } do
			create({ name = name, metric = "visits" })
		end
		local page = list({ limit = 2 }).json
		assert.equal({ page.items[1].name, page.items[2].name }, { "c", "b" })
		assert.equal(list({ limit = 2, after = page.next }).json.items[1].name, "a")
	end,

	["a wrong field is named"] = function()
		assert.contains(create({ name = "x", metric = "9" }).json.detail, "metric")
		assert.contains(create({ name = "x", metric = "m", colour = "red" }).json.detail, "colour")
		assert.equal(list({ limit = 1000 }).status >= 400, true)
	end,

	["who may not is told so"] = function()
		assert.equal(test.request({ path = "/api/analytics/reports" }).status, 401)
		local bob = { subject = "bob", permissions = { "analytics.view" } }
		assert.equal(test.request({ path = "/api/analytics/reports", principal = bob }).status, 403)
	end,
}
