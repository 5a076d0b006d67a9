"""What must hold whatever breaks: clients, pods and a gateway that keep ledgers, and a checker that joins them."""
