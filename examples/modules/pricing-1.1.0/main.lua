return {
  services = {
    ["pricing.quote"] = function(order)
      local price = services.call("catalogue.price", order.article)
      if order.count >= 10 then
        return { total = price * order.count * 0.9, rule = "ten per cent off from ten pieces on" }
      end
      return { total = price * order.count, rule = "list price" }
    end,
  },
}
